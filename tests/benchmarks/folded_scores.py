"""Scores of trained nets in their folded forms against those of the definition.

    python tests/benchmarks/folded_scores.py --data-root datasets/CamVid --checkpoint dff.pth
    python tests/benchmarks/folded_scores.py --data-root datasets/CamVid --checkpoint seg.pth

Each checkpoint is tested by test.py three times: with --no-fast, as it is by default on CPUs
(folded, 32 bits), and with --half (folded, bfloat16). The bars are differences of 0.0005 in 32 bits
and of 0.002 in bfloat16, of MF (ODS, thin and raw) and mIoU between 0 and 1; --images takes fewer.
docs/speed.md has what was measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.errors import run

ROOT = Path(__file__).resolve().parents[2]
FORMS = {"definition": ("--no-fast",), "folded": (), "folded, bf16": ("--half",)}
BARS = {"folded": 0.0005, "folded, bf16": 0.002}


def first_images(root: Path, split: str, count: int, folder: Path) -> Path:
    """A root in `folder` whose list of the split, a file SPLIT.txt as CamVid has it, is shorter."""
    for entry in root.iterdir():
        if entry.name != f"{split}.txt":
            (folder / entry.name).symlink_to(entry.resolve())
    lines = (root / f"{split}.txt").read_text().splitlines()
    # From all of the split: neighbours in a drive look alike.
    step = max(1, len(lines) // count)
    (folder / f"{split}.txt").write_text("\n".join(lines[::step][:count]) + "\n")
    return folder


def scores_of(checkpoint: Path, root: Path, split: str, flags: Sequence[str]) -> dict[str, float]:
    """Name -> score of a test."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, str(ROOT / "test.py"), "--checkpoint", str(checkpoint)]
        command += ["--data-root", str(root), "--split", split, "--out", out, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        metrics = json.loads((Path(out) / "metrics.json").read_text())
    scores = metrics["scores"]
    if metrics["task"] == "seg":
        return {"mIoU": scores["miou"]}
    return {f"MF, {mode}": scores[mode]["mean"]["ods"] for mode in scores}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, help="of a list SPLIT.txt (default: all)")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print the scores of each form, and how far they are from the definition's."""
    with tempfile.TemporaryDirectory() as folder:
        root = args.data_root
        if args.images is not None:
            root = first_images(root, args.split, args.images, Path(folder))
        for checkpoint in args.checkpoint:
            print(checkpoint)
            reference: dict[str, float] = {}
            for form, flags in FORMS.items():
                scores = scores_of(checkpoint, root, args.split, flags)
                reference = reference or scores
                for name, score in scores.items():
                    line = f"  {form:14} {name:9} {score:.5f}"
                    if form in BARS:
                        apart = abs(score - reference[name])
                        held = "held" if apart <= BARS[form] else "MISSED"
                        line += f"  {score - reference[name]:+.5f} (bar {BARS[form]}: {held})"
                    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
