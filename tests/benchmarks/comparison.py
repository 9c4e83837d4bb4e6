"""A semantic edge net, or the outlines of a segmentation? Trains and scores all of them alike.

    python tests/benchmarks/comparison.py --data-root datasets/CamVid --out comparison --seed 0 1
    python tests/benchmarks/comparison.py --data-root datasets/cityscapes --out comparison --full

The trainings are the recipes `compare-…` (utils/training/recipes/comparison.py), one after the
other, in one process each; --out keeps them, so that the command goes on where it was stopped, and
finds trainings that were made elsewhere: OUT/runs/NAME-SEED, NAME the recipe without -cityscapes.
Every last checkpoint is scored on the test split by test.py. Prints the tables of docs/results.md
in Markdown, the figures of the seeds side by side, and writes OUT/drawings.png, the edges of all on
some images. With --full the recipes are those of Cityscapes (not run).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The repository is run from its root, never installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np

from data import build_dataset
from data.base import Dataset
from data.edges import evaluation_edges, unpack
from data.errors import InputError, run
from data.image_io import write_png
from utils.inference import Predictor, load

ROOT = Path(__file__).resolve().parents[2]
TOLERANCES = ("0.02", "0.0075")
TIMED = 20  # images that are predicted for the seconds of one


@dataclass(frozen=True)
class Net:
    """title: in the tables. recipe: without `-cityscapes`. start: the recipe it starts from.
    tasks: what its checkpoint is scored as."""

    title: str
    recipe: str
    start: str = ""
    tasks: tuple[str, ...] = ("edge",)


NETS = (
    Net("CASENet", "compare-casenet"),
    Net("DFF", "compare-dff"),
    Net("DeepLabV3+", "compare-deeplabv3plus", tasks=("seg", "hard", "soft")),
    Net("(half of its time)", "compare-deeplabv3plus-half", tasks=()),
    Net(
        "DeepLabV3+ decoupled",
        "compare-deeplabv3plus-decouple",
        start="compare-deeplabv3plus-half",
        tasks=("seg", "hard", "soft"),
    ),
    Net("joint, CASENet's head", "compare-joint-casenet", tasks=("seg", "edge")),
    Net("joint, DFF's head", "compare-joint-dff", tasks=("seg", "edge", "hard", "soft")),
)
KINDS = {"edge": "", "hard": ", outlines", "soft": ", outlines of softmax"}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="runs, scores and drawings")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of each training")
    parser.add_argument("--full", action="store_true", help="Cityscapes at full size; needs GPUs")
    parser.add_argument("--no-train", action="store_true", help="score the runs that are there")
    parser.add_argument("--split", help="that is scored (default: test; of Cityscapes val)")
    parser.add_argument("--images", nargs="+", type=int, default=[20, 120, 200], metavar="N")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Train, score, print."""
    split = args.split or ("val" if args.full else "test")
    for seed in () if args.no_train else args.seed:
        for net in NETS:
            train(net, args, seed)
    rows = [[row for net in NETS for row in score(net, args, split, seed)] for seed in args.seed]
    dataset = build_dataset(
        "cityscapes" if args.full else "camvid", args.data_root, split, task="edge"
    )
    last = args.seed[-1]
    nets = {net.title: run_of(net, args, last) / "last.pth" for net in NETS if net.tasks}
    predictors = {title: load(path) for title, path in nets.items()}
    print_table(rows, time_each(predictors, dataset))
    draw(predictors, dataset, args)


def run_of(net: Net, args: argparse.Namespace, seed: int) -> Path:
    """The folder of a net's training."""
    return args.out / "runs" / f"{net.recipe}-{seed}"


def recipe_of(recipe: str, *, full: bool) -> str:
    """The recipe's name at full size: second stages end in -decouple."""
    if not full:
        return recipe
    stem = recipe.removesuffix("-decouple")
    return f"{stem}-cityscapes" + recipe.removeprefix(stem)


def call(*words: object) -> None:
    """One of the scripts; InputError if it fails."""
    command = [sys.executable, *map(str, words)]
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise InputError(f"{' '.join(command)}: ended with {status}")


def train(net: Net, args: argparse.Namespace, seed: int) -> None:
    """Train a net, unless its folder says that this is done."""
    start = next((each for each in NETS if each.recipe == net.start), None)
    begin = ["--init-from", run_of(start, args, seed) / "last.pth"] if start else []
    call(
        *("train.py", "--recipe", recipe_of(net.recipe, full=args.full), *begin),
        *("--data-root", args.data_root, "--seed", seed, "--run-dir", run_of(net, args, seed)),
    )


@dataclass(frozen=True)
class Row:
    """A line of the table: title, and the folders of results for each tolerance."""

    net: Net
    title: str
    edges: dict[str, Path]
    seg: Path | None


def score(net: Net, args: argparse.Namespace, split: str, seed: int) -> list[Row]:
    """Score a net as everything that it can be scored as; what is there is not scored again."""
    out = args.out / "scores" / f"{net.recipe}-{seed}"
    common = ["--checkpoint", run_of(net, args, seed) / "last.pth", "--data-root", args.data_root]
    common += ["--split", split, "--max-dist", *TOLERANCES, "--crisp", "--calibration"]
    derived = [task for task in net.tasks if task in ("hard", "soft")]
    rows = []
    if "edge" in net.tasks:
        joint = "seg" in net.tasks
        folder = out / "edge" if joint else out
        if not found(folder):
            call("test.py", *common, "--out", out)
        seg = out / "seg" if joint else None
        rows.append(Row(net, net.title, tolerances(folder), seg))
    if derived:
        folder = out / "derived"
        if not all(found(folder / kind) for kind in derived):
            call("test.py", "--task", "edge", "--derived", *derived, *common, "--out", folder)
        seg = out / "seg"
        if not (seg / "metrics.json").is_file():
            call("test.py", "--task", "seg", *common[:6], "--out", seg)
        rows += [
            Row(net, net.title + KINDS[kind], tolerances(folder / kind), seg) for kind in derived
        ]
    return rows


def tolerances(folder: Path) -> dict[str, Path]:
    """The results in a folder by tolerance."""
    return {each: folder / f"max-dist-{each}" for each in TOLERANCES}


def found(folder: Path) -> bool:
    """Whether all results of a folder are there."""
    return all((each / "metrics.json").is_file() for each in tolerances(folder).values())


def time_each(predictors: dict[str, Predictor], dataset: Dataset) -> dict[str, float]:
    """Title -> median seconds of an image, all nets in turn for each image."""
    records = dataset.records[:: max(1, len(dataset.records) // TIMED)][:TIMED]
    taken: dict[str, list[float]] = {title: [] for title in predictors}
    for record in records:
        image = dataset.read_image(record)
        for title, predictor in predictors.items():
            begun = time.perf_counter()
            predictor.both(image) if predictor.has_edge_head else predictor(image)
            taken[title].append(time.perf_counter() - begun)
    return {title: float(np.median(each[2:])) for title, each in taken.items()}


def print_table(rows: Sequence[Sequence[Row]], seconds: dict[str, float]) -> None:
    """In Markdown, percent; rows: of each seed, whose figures stand side by side."""
    titles = ["", *(f"MF {mode}, {each}" for each in TOLERANCES for mode in ("thin", "raw"))]
    titles += ["AP thin", "AP raw", "MF crisp", "crispness", "ECE"]
    titles += ["mIoU", "boundary F 3 px", "ms / image"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for of_seeds in zip(*rows, strict=True):
        figures = zip(*map(figures_of, of_seeds), strict=True)
        cells = [" / ".join(each) if set(each) != {"-"} else "-" for each in figures]
        net = of_seeds[0]
        cells = [net.title, *cells, f"{1000 * seconds[net.net.title]:.0f}"]
        print(f"| {' | '.join(cells)} |")


def figures_of(row: Row) -> list[str]:
    """The figures of a line, in the order of its columns."""
    documents = {each: read(folder) for each, folder in row.edges.items()}
    cells = [mean(documents[each], mode, "ods") for each in TOLERANCES for mode in ("thin", "raw")]
    first = documents[TOLERANCES[0]]
    cells += [mean(first, "thin", "ap"), mean(first, "raw", "ap"), mean(first, "crisp", "ods")]
    cells.append(percent(first["crispness"]["mean"]))
    cells.append(percent(first["calibration"]["mean"]["ece"]))
    seg = read(row.seg)["scores"] if row.seg else None
    of_3 = [each for each in seg["boundary_f"] if each["bound"] == 3] if seg else []
    cells.append(percent(seg and seg["miou"]))
    cells.append(percent(of_3[0]["published_mean"] if of_3 else None))
    return cells


def read(folder: Path) -> dict:
    """metrics.json."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def mean(document: dict, mode: str, figure: str) -> str:
    """The mean over classes in percent."""
    return percent(document["scores"][mode]["mean"][figure])


def percent(value: float | None) -> str:
    """41.23, or - for a figure that does not exist."""
    return "-" if value is None else f"{100 * value:.2f}"


def draw(predictors: dict[str, Predictor], dataset: Dataset, args: argparse.Namespace) -> None:
    """A row of drawings for each image: the image, the true edges, and each net's."""
    lines = []
    for number in args.images:
        sample = dataset[number % len(dataset)]
        assert sample.label is not None
        bits = evaluation_edges(
            sample.label, sample.instance, num_classes=dataset.num_classes, thin=True, scale=1.0
        )
        drawn = [sample.image, lines_of(unpack(bits, dataset.num_classes), dataset.palette)]
        for predictor in predictors.values():
            drawn.append(lines_of(predictor.edges(sample.image, thin=True), dataset.palette))
        lines.append(np.vstack([half(each) for each in drawn]))
    write_png(args.out / "drawings.png", np.hstack(lines))
    print(f"drawings: {args.out / 'drawings.png'}; from top to bottom: image, truth", end="")
    print("".join(f", {title}" for title in predictors))


def lines_of(edges: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """bool (K, H, W) -> uint8 (H, W, 3), lines on white."""
    canvas = np.full((*edges.shape[1:], 3), 255, np.uint8)
    wide = np.stack([cv2.dilate(each.astype(np.uint8), np.ones((2, 2))) > 0 for each in edges])
    for k in range(len(wide)):
        canvas[wide[k]] = palette[k]
    return canvas


def half(image: np.ndarray) -> np.ndarray:
    """With a white border, at 320 pixels of width."""
    height = round(320 * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (320, height), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
