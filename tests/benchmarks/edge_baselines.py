"""Two baselines that any edge net must beat, as prediction files for `test.py --predictions`.

    data="--data-root datasets/CamVid"
    python tests/benchmarks/edge_baselines.py $data --base-size 240 --out baselines
    python test.py --predictions baselines/prior --dataset camvid $data --split test
    python test.py --predictions baselines/sobel --dataset camvid $data --split test

prior: where edges of the class lie in the training images, the same prediction for every image.
sobel: the image's gradient times that prior.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

# The repository is run from its root, never installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data import DATASETS, build_dataset
from data.base import Dataset
from data.edges import label_to_edges, resize_nearest, unpack
from data.errors import run
from data.image_io import write_png
from data.samples.transforms import resize_long_side
from utils.inference.scores import quantize

STRONGEST = 99.5  # percentile of the gradient that becomes 1


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=DATASETS, default="camvid")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument(
        "--train-split", default="train", help="split that the prior is learned from"
    )
    parser.add_argument("--split", default="test", help="split to predict")
    parser.add_argument(
        "--base-size",
        type=int,
        default=0,
        metavar="N",
        help="long side of the predictions, 0: as on disk",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="gets prior/class_001/NAME.png … and sobel/class_001/NAME.png …",
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Learn the prior, write both baselines."""
    train = build_dataset(args.dataset, args.data_root, args.train_split)
    test = build_dataset(args.dataset, args.data_root, args.split)
    prior = location_prior(train, args.base_size)
    for record in tqdm(test.records, unit="image", disable=None):
        image = test.read_image(record)
        if args.base_size:
            image = resize_long_side(image, args.base_size)
        height, width = image.shape[:2]
        here = np.stack(
            [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in prior]
        )
        for name, scores in (("prior", here), ("sobel", here * gradient(image))):
            for k, score in enumerate(scores, start=1):
                write_png(
                    args.out / name / f"class_{k:03d}" / f"{record.name}.png", quantize(score)
                )
    print(f"baselines: {args.out / 'prior'}, {args.out / 'sobel'}")


def location_prior(dataset: Dataset, base_size: int) -> np.ndarray:
    """float32 (K, h, w): how often each pixel is an edge of the class; the largest value is 1.

    The edges are those for training (radius 2). Maps of another size than the first are resized.

    Args:
        dataset: The training images.
        base_size: Long side of the labels, and so of the predictions; 0: as on disk.
    """
    total, size = None, None
    for record in tqdm(dataset.records, unit="label", disable=None):
        label, instance = dataset.read_ground_truth(record)
        scale = base_size / max(label.shape) if base_size else 1
        label = resize_nearest(label, scale)
        instance = None if instance is None else resize_nearest(instance, scale)
        bits = label_to_edges(label, instance, num_classes=dataset.num_classes)
        size = size or bits.shape
        edges = unpack(bits, dataset.num_classes).astype(np.float32)
        if bits.shape != size:
            edges = np.stack(
                [cv2.resize(edge, size[::-1], interpolation=cv2.INTER_AREA) for edge in edges]
            )
        total = edges if total is None else total + edges
    return total / np.maximum(total.max(axis=(1, 2), keepdims=True), 1e-9)


def gradient(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (H, W) in 0..1: length of the 3x3 Sobel vector.

    The largest over the channels, divided by its 99.5th percentile in the image and limited to 1,
    so that no single hard edge sets the scale.
    """
    channels = image.astype(np.float32)
    length = np.hypot(
        cv2.Sobel(channels, cv2.CV_32F, 1, 0), cv2.Sobel(channels, cv2.CV_32F, 0, 1)
    ).max(axis=2)
    return np.minimum(length / max(1e-9, np.percentile(length, STRONGEST)), 1).astype(np.float32)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
