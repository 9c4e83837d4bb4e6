"""How fast edge labels of 2048x1024 Cityscapes frames are made, per image, on one core.

    python tests/benchmarks/gtlabel.py [--root datasets/cityscapes] [--frames 18] [--workers 2]

Without --root the golden frame of ../shared is used, or, where that is absent, a drawn one. Times
are the least of the repeats, averaged over the frames. "Files alone" reads the two label PNGs and
writes the edge PNG, and computes nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402  (the repository is not installed: its root goes on the path first)
import numpy as np  # noqa: E402

from data import cityscapes_gtlabel as script  # noqa: E402
from data.edges import encode_png, evaluation_edges, label_to_edges  # noqa: E402
from data.gtlabel.args import product_options  # noqa: E402
from data.gtlabel.products import COMPRESSION, GroundTruth  # noqa: E402
from data.image_io import read_index, write_png  # noqa: E402

# golden/edges/README.md, section 6: the same work on the same kind of machine.
PUBLISHED = (
    "label 5.2 s with files and 1.5 s without, evaluation 5.9 s, in Octave; label without files "
    "3.4-10.1 s in pyEdgeEval"
)


def main() -> None:
    """Print the figures of one core, then those of whole runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="a folder with gtFine/")
    parser.add_argument("--frames", type=int, default=18)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = args.root or make_root(Path(folder) / "cs")
        frames = [
            frame
            for split in script.SPLITS
            if (root / "gtFine" / split).is_dir()
            for frame in script.find_frames(root, split)
        ]
        frames = frames[: args.frames]
        one_core(frames, root, Path(folder), args.repeat)
        many_frames(frames, Path(folder), args.frames, args.workers)


def one_core(frames: list[script.Frame], root: Path, folder: Path, repeat: int) -> None:
    """Print what each step takes per image, on one thread."""
    times: dict[str, list[float]] = {}
    for frame in frames:
        ground_truth = script.read_ground_truth(frame.label, frame.instance)
        edges = label_to_edges(*ground_truth[:2], num_classes=19)
        whole = script.make_job(frame, root, make_maker(folder / "out"))
        actions = {
            "files": partial(files_alone, frame, edges, folder / "edge.png"),
            "rule": partial(label_to_edges, *ground_truth[:2], num_classes=19),
            "label": replace(whole, products=whole.products[:1]).run,
            "evaluation rules": partial(evaluation_rules, ground_truth),
            "evaluation": replace(whole, products=whole.products[1:]).run,
        }
        for name, action in actions.items():
            times.setdefault(name, []).append(least(action, repeat))
    ms = {name: 1000 * float(np.mean(one)) for name, one in times.items()}
    height, width = ground_truth[0].shape
    print(f"{len(frames)} frames of {width}x{height}, one thread, ms per image")
    print(f"(published: {PUBLISHED})")
    for title, figure in (
        ("reading two PNGs and writing one, nothing computed", f"{ms['files']:7.1f}"),
        ("training label, the rule alone", f"{ms['rule']:7.1f}"),
        ("training label with files", f"{ms['label']:7.1f}"),
        ("evaluation thin + raw, inst + cls, the rules alone", f"{ms['evaluation rules']:7.1f}"),
        ("evaluation thin + raw, inst + cls, with files", f"{ms['evaluation']:7.1f}  (bar: 1000)"),
        (
            "training label with files / files alone",
            f"{ms['label'] / ms['files']:7.2f}x (bar: 1.5x)",
        ),
    ):
        print(f"  {title:50}   {figure}")


def files_alone(frame: script.Frame, edges: np.ndarray, target: Path) -> None:
    """Read and write what a training label takes, and compute nothing."""
    read_index(frame.label)
    read_index(frame.instance)
    write_png(target, encode_png(edges), compression=COMPRESSION)


def evaluation_rules(ground_truth: GroundTruth) -> None:
    """Compute all four kinds of evaluation ground truth."""
    for thin, sensitive in product((True, False), (True, False)):
        evaluation_edges(*ground_truth[:2], num_classes=19, thin=thin, instance_sensitive=sensitive)


def many_frames(frames: list[script.Frame], folder: Path, count: int, workers: int) -> None:
    """Run the command over few and many images: the difference leaves out what starting takes."""
    few, many = count, 5 * count
    roots = {
        number: copy_frames(frames, folder / f"{number} frames", number) for number in (few, many)
    }
    per_image = {}
    for n in (1, workers):
        seconds, peak = {}, 0
        for number, root in roots.items():
            seconds[number], peak = command(root, folder / f"{number} out {n}", n)
        per_image[n] = (seconds[many] - seconds[few]) / (many - few)
        print(
            f"  {n} worker(s): {few} frames {seconds[few]:.1f} s, {many} frames "
            f"{seconds[many]:.1f} s, so {1000 * per_image[n]:.0f} ms per image"
            + (f"; peak memory {peak} MB (bar: 500)" if n == 1 else "")
        )
    ratio = per_image[1] / per_image[workers]
    print(
        f"  {workers} workers make labels {ratio:.2f}x as fast as one (bar: 1.8x with 2; wants "
        f"{workers} idle cores)"
    )


def copy_frames(frames: list[script.Frame], root: Path, count: int) -> Path:
    """A Cityscapes folder of `count` copies of the frames, in turn."""
    folder = root / "gtFine/train/city"
    folder.mkdir(parents=True)
    for k in range(count):
        frame = frames[k % len(frames)]
        for kind, source in (("labelIds", frame.label), ("instanceIds", frame.instance)):
            shutil.copyfile(source, folder / f"city_{k:06}_000019_gtFine_{kind}.png")
    return root


def command(root: Path, out: Path, workers: int) -> tuple[float, int]:
    """(seconds, MB) of the label script on a folder, evaluation ground truth included.

    MB: the peak of the main process.
    """
    code = (
        "import sys; from data import cityscapes_gtlabel as s; s.main(s.parse_args(sys.argv[1:]));"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    flags = ["--root", root, "--out", out, "--eval", "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *flags],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return time.perf_counter() - start, int(done.stdout.split()[-1]) // 1024


def make_maker(out: Path) -> script.ProductMaker:
    """The script's maker, for training label and evaluation ground truth."""
    options = product_options(script.parse_args(["--out", str(out), "--eval"]))
    cityscapes = script.Cityscapes
    return script.ProductMaker(
        out, script.Rule(19), cityscapes.classes, cityscapes.palette, options
    )


def least(action: Callable[[], object], repeat: int) -> float:
    """The least seconds of `repeat` calls, after one to warm up."""
    action()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def make_root(root: Path) -> Path:
    """A Cityscapes folder of one frame: the golden one, or a drawn one."""
    folder = root / "gtFine/train/city"
    golden = ROOT.parent / "shared/golden/edges/cityscapes_gt_2048x1024"
    folder.mkdir(parents=True)
    for kind in ("labelIds", "instanceIds"):
        path = folder / f"city_000000_000019_gtFine_{kind}.png"
        if golden.is_dir():
            shutil.copyfile(next(golden.glob(f"*_{kind}.png")), path)
        else:
            draw_frame(path, kind)
    return root


def draw_frame(path: Path, kind: str) -> None:
    """Ellipses of random classes over a road."""
    rng = np.random.default_rng(0)
    ids = np.full((1024, 2048), 7, np.uint16)
    for number in range(150):
        one = int(rng.choice([8, 11, 17, 20, 21, 23, 24, 26, 33]))
        value = one * 1000 + number if kind == "instanceIds" and one in (24, 26, 33) else one
        centre, axes = rng.integers(0, (2048, 1024)).tolist(), rng.integers(5, 150, 2).tolist()
        cv2.ellipse(ids, centre, axes, 0, 0, 360, value, -1)
    write_png(path, ids if kind == "instanceIds" else ids.astype(np.uint8))


if __name__ == "__main__":
    main()
