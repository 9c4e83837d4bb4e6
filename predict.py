"""Draw the semantic edges of images, or their segmentation, as the checkpoint's network does.

    python predict.py street.jpg more/ --checkpoint runs/dff/best.pth --out edges
    python predict.py street.jpg more/ --checkpoint runs/seg/best.pth --out labels --scales 0.5 1 2 --mirror
    torchrun --nproc-per-node 8 predict.py more/ --checkpoint runs/dff/best.pth --out edges    # each GPU takes its share

Each image NAME leaves in --out, from a network for edges:
    NAME_edges.png, NAME_overlay.png    the classes in colour with a legend, and the same over the image
    prob/class_001/NAME.png …           --save-prob: 16 bits, probability * 65536; test.py --predictions takes OUT/prob
    bits/NAME.png                       --save-bits: 24 bits, bit k = edge of class k (data.edges.encode_png)
and from one for segmentation:
    labels/NAME.png                     the class of each pixel, 8 bits; test.py --task seg --predictions takes OUT
    NAME_colors.png, NAME_overlay.png   the classes in colour with a legend, and the same over the image
The subfolders of a folder are mirrored. With several inputs, each folder gets a subfolder of its own name. Images
whose names differ only in the ending (a.jpg, a.png) keep it.

Any image that OpenCV reads will do: grey becomes colour, 16 bits are cut to 8, alpha is dropped, CMYK is converted.
Photographs are turned upright as their EXIF data say; --no-upright takes the pixels as stored, as data sets are read.
"""

import argparse
import sys
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from data import DATASETS
from data.edges import PNG_CLASSES, encode_png, pack
from data.errors import InputError, run
from data.image_io import write_png
from data.visualize import add_legend, color_labels, draw_edges, draw_overlay, present_classes
from utils.checkpoint import ModelInfo, load_model
from utils.distributed.group import from_main, gather_objects, own_device, process_group
from utils.inference.args import add_network_flags, chosen_modes, described_network
from utils.inference.device import pick_device
from utils.inference.image_files import find_images, output_names, read_input_image
from utils.inference.predictor import predict_edges, predict_labels, quantize

WRITERS = 4  # threads that draw and compress while the network goes on: a full-size Cityscapes image takes a second or more


Outputs = dict[str, list[Path]]  # kind -> the files of one image


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    switch = argparse.BooleanOptionalAction
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="an image or a folder of images"
    )
    parser.add_argument(
        "--recursive",
        action=switch,
        default=True,
        help="take the subfolders of folders too (default)",
    )
    parser.add_argument(
        "--upright", action=switch, default=True, help="turn photographs as EXIF says (default)"
    )

    net = parser.add_argument_group("network")
    net.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    text = "for a file that does not say it: the names and colours of the classes"
    net.add_argument("--dataset", choices=sorted(DATASETS), help=text)
    add_network_flags(net)

    out = parser.add_argument_group("output")
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    out.add_argument(
        "--threshold",
        type=_probability,
        default=0.5,
        metavar="P",
        help="least probability of an edge that is drawn (default 0.5)",
    )
    out.add_argument(
        "--overlay", action=switch, default=True, help="write NAME_overlay.png (default)"
    )
    out.add_argument(
        "--save-prob", action=switch, default=False, help="edges: write prob/class_001/NAME.png …"
    )
    out.add_argument("--save-bits", action=switch, default=False, help="edges: write bits/NAME.png")
    out.add_argument(
        "--overwrite", action=switch, default=False, help="replace files of an earlier run"
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Predict all images, each on one of the ranks; 0 if all of them worked, else 2, on every rank."""
    device = pick_device(args.device)
    with process_group(device.type) as ranks:
        device = own_device(device, ranks)
        # One rank looks, before any of them writes.
        found, failures = from_main(
            lambda: find_images(args.inputs, args.out, args.recursive), ranks
        )
        model, info = load_model(args.checkpoint, **described_network(args))
        files = from_main(lambda: plan(found, info, args), ranks)
        mine = dict(list(files.items())[ranks.rank :: ranks.world])
        failed = predict_images(
            mine, model.to(device), info, device, args, silent=not ranks.is_main
        )
        for part in gather_objects(failed, ranks):
            failures |= part
        if ranks.is_main:
            report(args.out, files, failures)
    return 2 if failures else 0


def plan(found: dict[Path, Path], info: ModelInfo, args: argparse.Namespace) -> dict[Path, Outputs]:
    """The files to write for each image. InputError if one of them is not to be written."""
    files = {
        path: output_files(args.out, name, info, args) for path, name in output_names(found).items()
    }
    check_outputs(files, args.overwrite)
    return files


def predict_images(
    files: dict[Path, Outputs],
    model: nn.Module,
    info: ModelInfo,
    device: torch.device,
    args: argparse.Namespace,
    *,
    silent: bool,
) -> dict[Path, Exception]:
    """Write the files of each image; returns those that failed, with the reason."""
    predict, write = (
        (predict_edges, write_edges) if info.task == "edge" else (predict_labels, write_labels)
    )
    modes = chosen_modes(args, info.base_size)
    failures = {}
    with ThreadPoolExecutor(WRITERS) as pool:
        pending: deque[Future] = deque()
        for path, wanted in tqdm(files.items(), unit="image", disable=silent or None):
            try:
                image = read_input_image(path, upright=args.upright)
                scores = predict(model, image, device=device, **modes)
            except (InputError, OSError) as error:
                failures[path] = error
                continue
            pending.append(pool.submit(write, wanted, image, scores, info, args.threshold))
            if len(pending) > WRITERS:
                pending.popleft().result()
        for written in pending:
            written.result()
    return failures


def output_files(out: Path, name: str, info: ModelInfo, args: argparse.Namespace) -> Outputs:
    """The files to write for one image: kind -> paths, one each but for "prob", which has one per class."""
    drawn = "edges" if info.task == "edge" else "colors"
    files = {drawn: [out / f"{name}_{drawn}.png"]}
    if args.overlay:
        files["overlay"] = [out / f"{name}_overlay.png"]
    if info.task == "seg":
        if args.save_prob or args.save_bits:
            raise InputError(
                f"--save-prob and --save-bits are for edges; {args.checkpoint} holds {info.name}"
            )
        return files | {"labels": [out / "labels" / f"{name}.png"]}
    if args.save_prob:
        files["prob"] = [
            out / "prob" / f"class_{k + 1:03d}" / f"{name}.png" for k in range(info.num_classes)
        ]
    if args.save_bits:
        files["bits"] = [out / "bits" / f"{name}.png"]
        if info.num_classes > PNG_CLASSES:
            raise InputError(
                f"--save-bits holds {PNG_CLASSES} classes, this network has {info.num_classes}; use --save-prob"
            )
    return files


def check_outputs(files: dict[Path, Outputs], overwrite: bool) -> None:
    """InputError, before anything is written, if a file would replace an input or, without `overwrite`, any file."""
    inputs = {path.resolve() for path in files}
    for path in (path for wanted in files.values() for paths in wanted.values() for path in paths):
        if path.resolve() in inputs:
            raise InputError(f"{path} would replace an input; give another --out")
        if path.exists() and not overwrite:
            raise InputError(f"{path} is there already; give --overwrite or another --out")


def write_labels(
    files: Outputs, image: np.ndarray, labels: np.ndarray, info: ModelInfo, _threshold: float
) -> None:
    """Write one image's files. image: uint8 (H, W, 3). labels: uint8 (H, W)."""
    write_png(files["labels"][0], labels)
    colors = color_labels(labels, info.palette)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=info.num_classes)).tolist()
    write_png(files["colors"][0], add_legend(colors, present, info.classes, info.palette))
    for path in files.get("overlay", ()):
        write_png(path, cv2.addWeighted(image, 0.5, colors, 0.5, 0))


def write_edges(
    files: Outputs, image: np.ndarray, prob: np.ndarray, info: ModelInfo, threshold: float
) -> None:
    """Write one image's files. image: uint8 (H, W, 3). prob: float32 (K, H, W)."""
    present = present_classes(prob, info.num_classes, threshold=threshold)
    drawn = draw_edges(prob, info.palette, threshold=threshold)
    write_png(files["edges"][0], add_legend(drawn, present, info.classes, info.palette))
    for path in files.get("overlay", ()):
        write_png(path, draw_overlay(image, prob, info.palette, threshold=threshold))
    for path, score in zip(
        files.get("prob", ()), prob, strict=False
    ):  # no paths where none were asked for
        write_png(path, quantize(score))
    for path in files.get("bits", ()):
        write_png(path, encode_png(pack(prob >= threshold)))


def report(out: Path, files: Collection[Path], failures: dict[Path, Exception]) -> None:
    """Say where the results lie and which inputs failed."""
    done = sum(path not in failures for path in files)
    print(f"{done} of {len(files)} images predicted: see {out}")
    for path, error in failures.items():
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(f"failed: {path}: {reason.removeprefix(f'{path}: ')}", file=sys.stderr)


def _probability(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a probability, 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
