"""Time of the segmentation scores and memory of multi-scale inference, at 2048x1024 and 19 classes.

    python tests/benchmarks/seg_eval.py
    python tests/benchmarks/seg_eval.py --inference --net deeplabv3plus --backbone resnet18

This should give, on one core of an AMD EPYC shared with other jobs: boundary F at the four
published tolerances in 0.025 s (the published function takes 39.5 s), all scores of an image with
reading its two PNGs in 0.05 s, so 500 images in 3 s on 8 cores. Memory of the seven mirrored
scales, in windows one by one, above the loaded net: 0.96 GB for `dot` (0.76 GB of score maps, 0.2
GB for the logits of a window); with --quick 1.9 GB for deeplabv3plus over resnet18 and 2.9 GB for
deeplabv3plus_decouple over resnet50, where the net's own forward pass decides.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.cityscapes import TRAIN_LABELS, Cityscapes, to_train_ids
from data.errors import run
from data.image_io import read_index, write_png
from data.scenes.layout import draw_scene
from models import build_model
from utils.checkpoint import ModelInfo
from utils.evaluation.segmentation.scores import ImageCounts, SegProtocol, count_label_map
from utils.inference.device import pick_device
from utils.inference.options import InferenceOptions
from utils.inference.predictor import Predictor
from utils.inference.sliding_window import Windows
from utils.seg_metrics import PUBLISHED_BOUNDS, boundary_counts, boundary_iou_counts, confusion

SIZE = (2048, 1024)
CLASSES = len(TRAIN_LABELS)
PUBLISHED_SECONDS = dict(
    zip(PUBLISHED_BOUNDS, (1.1, 4.1, 13.1, 21.2), strict=True)
)  # golden/edges, section 6
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
WINDOW = 832
BARS = {"speed": 50, "seconds": 120, "images": 500, "cores": 8}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeat", type=int, default=5, help="runs, of which the quickest counts (default 5)"
    )
    parser.add_argument(
        "--inference", action="store_true", help="measure inference in place of scores"
    )
    parser.add_argument(
        "--net", default="dot", help="dot: one 1x1 convolution, to see our own buffers; or a model"
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    text = (
        "two scales, the first and the last window of each: the same peak in a fraction of the time"
    )
    parser.add_argument("--quick", action="store_true", help=text)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.inference:
        report_inference(args)
    else:
        report_scores(args.repeat)


def draw_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, ground truth) of a drawn street, uint8 (1024, 2048).

    The prediction is the ground truth shifted by 3 px, with wrong blocks.
    """
    _, ids, _ = draw_scene(seed, 1, 0, *SIZE)
    truth = to_train_ids(ids, "drawn")
    rng = np.random.default_rng(seed)
    pred = np.where(truth < CLASSES, truth, 0).astype(np.uint8)
    pred = np.roll(pred, 3, axis=1)
    for top, left in zip(
        rng.integers(0, SIZE[1] - 60, 40), rng.integers(0, SIZE[0] - 90, 40), strict=True
    ):
        pred[top : top + 60, left : left + 90] = rng.integers(0, CLASSES)
    return pred, truth


def seconds(work: Callable[[], object], repeat: int) -> float:
    """Processor seconds of the quickest of `repeat` runs."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def report_scores(repeat: int) -> None:
    pairs = [draw_pair(seed) for seed in range(3)]
    boundary_counts(*pairs[0], CLASSES, (2,))  # compiles, or loads what is compiled
    print("boundary F, 19 classes, 2048x1024, seconds\ntolerance     ours  published")
    for bound, published in PUBLISHED_SECONDS.items():
        ours = max(
            seconds(lambda p=p, b=bound: boundary_counts(*p, CLASSES, [b]), repeat) for p in pairs
        )
        print(f"{bound:9g} {ours:8.4f} {published:10.1f}")
    ours = max(
        seconds(lambda p=p: boundary_counts(*p, CLASSES, PUBLISHED_BOUNDS), repeat) for p in pairs
    )
    total = sum(PUBLISHED_SECONDS.values())
    faster = f"{total / ours:.0f} times faster (bar: {BARS['speed']})"
    print(f"all four  {ours:8.4f} {total:10.1f}   {faster}")
    noise = np.random.default_rng(0).integers(0, CLASSES, SIZE[::-1], np.uint8)
    worst = seconds(lambda: boundary_counts(noise, pairs[0][1], CLASSES, PUBLISHED_BOUNDS), 1)
    print(f"a prediction of pure noise, all four: {worst:.2f} s")
    for name, work in (
        ("confusion matrix", partial(confusion, num_classes=CLASSES)),
        ("boundary IoU", partial(boundary_iou_counts, num_classes=CLASSES, bound=0.005)),
    ):
        print(f"{name}: {max(seconds(partial(work, *pair), repeat) for pair in pairs):.4f} s")
    report_files(pairs, repeat)


def count_files(pred: Path, truth: Path, protocol: SegProtocol) -> ImageCounts:
    return count_label_map(read_index(pred), read_index(truth), protocol)


def report_files(pairs: Sequence[tuple[np.ndarray, np.ndarray]], repeat: int) -> None:
    """Everything that `test.py --task seg --predictions` does for an image."""
    protocol = SegProtocol(Cityscapes.classes)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.png" for name in ("pred", "truth")]
        slowest = 0.0
        for pair in pairs:
            for path, ids in zip(paths, pair, strict=True):
                write_png(path, ids)
            slowest = max(slowest, seconds(partial(count_files, *paths, protocol), repeat))
    whole = slowest * BARS["images"] / BARS["cores"]
    print(
        f"all scores of an image at {len(protocol.bounds)} tolerances, PNGs read: {slowest:.3f} s; "
        f"by extrapolation {BARS['images']} on {BARS['cores']} cores: {whole:.0f} s "
        f"(bar: {BARS['seconds']})"
    )


class Dot(nn.Module):
    """19 classes from one 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, CLASSES, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"seg": self.net(image)}


def report_inference(args: argparse.Namespace) -> None:
    """Peak memory and time of one image at seven scales, mirrored, in windows of 832 px."""
    device = pick_device(args.device)
    image = draw_scene(0, 1, 0, *SIZE)[0]
    model = (
        Dot()
        if args.net == "dot"
        else build_model(args.net, num_classes=CLASSES, backbone=args.backbone)
    )
    model.eval()
    info = ModelInfo(
        name=args.net,
        backbone=args.backbone,
        num_classes=CLASSES,
        task="seg",
        classes=Cityscapes.classes,
        palette=Cityscapes.palette,
        base_size=0,
        dataset="cityscapes",
    )
    scales = (1.0, max(SCALES)) if args.quick else SCALES
    options = InferenceOptions(
        window=WINDOW, scales=scales, mirror=True, batch_size=args.batch_size
    )
    predictor = Predictor(model, info, device=device, options=options)
    # Once on a corner: what the libraries set up does not count.
    Predictor(model, info, device=device)(image[:64, :64])
    before = _peak_mb(device)
    if args.quick:
        all_places = Windows.places
        Windows.places = lambda self, views: [all_places(self, views)[i] for i in (0, -1)]
    start = time.perf_counter()
    predictor(image)
    taken, after = time.perf_counter() - start, _peak_mb(device)
    name = args.net if args.net == "dot" else f"{args.net}-{args.backbone}"
    print(
        f"{name} on {device}, batches of {args.batch_size}, {len(scales)} scales, mirrored, "
        f"windows of {WINDOW}: {taken:.1f} s"
    )
    print(f"peak memory {after:.0f} MB, {after - before:.0f} MB above the loaded net")
    print(
        f"of that, score maps: {_map_mb(1):.0f} MB at the output's size + "
        f"{_map_mb(max(SCALES)):.0f} MB at the largest scale"
    )


def _map_mb(scale: float) -> float:
    return 4 * CLASSES * SIZE[0] * SIZE[1] * scale**2 / 2**20


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
