"""Draw the semantic edges of images, or their segmentation, as the checkpoint's network does.

    python predict.py street.jpg more/ --checkpoint runs/dff/best.pth --out edges
    python predict.py street.jpg --checkpoint runs/seg/best.pth --out labels --scales 0.5 1 2
    torchrun --nproc-per-node 8 predict.py more/ --checkpoint runs/dff/best.pth --out edges

With torchrun, each GPU takes its share of the images. Each image NAME leaves in --out, from a
network for edges:
    NAME_edges.png, NAME_overlay.png    the classes in colour with a legend, and over the image
    prob/class_001/NAME.png …           --save-prob: 16 bits, probability * 65536, which
                                        test.py --predictions OUT/prob scores
    bits/NAME.png                       --save-bits: 24 bits, bit k = edge of class k
                                        (data.edges.encode_png)
and from one for segmentation:
    labels/NAME.png                     the class of each pixel, 8 bits, which
                                        test.py --task seg --predictions OUT scores
    NAME_colors.png, NAME_overlay.png   the classes in colour with a legend, and over the image
The subfolders of a folder are mirrored. With several inputs, each folder gets a subfolder of its
own name. Images whose names differ only in the ending (a.jpg, a.png) keep it.

Any image that OpenCV reads will do: grey becomes colour, 16 bits are cut to 8, alpha is dropped,
CMYK is converted. Photographs are turned upright as their EXIF data say; --no-upright takes the
pixels as stored, as data sets are read.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data import DATASETS
from data.args import Parser, share
from data.errors import InputError, run
from utils.distributed.group import from_main, gather_objects, own_device, process_group
from utils.inference.args import add_network_flags, predictor_from_flags
from utils.inference.device import pick_device
from utils.inference.image_files import find_images, output_names, read_input_image
from utils.inference.outputs import (
    Files,
    OutputChoice,
    check_outputs,
    output_files,
    write_outputs,
)
from utils.inference.predictor import Predictor

# Threads that draw and compress while the network goes on; a Cityscapes image takes over a second.
WRITERS = 4


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    switch = argparse.BooleanOptionalAction
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
        type=share,
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
    """Predict all images, each on one of the ranks; returns the exit status, the same on all."""
    device = pick_device(args.device)
    with process_group(device.type) as ranks:
        device = own_device(device, ranks)
        # One rank looks into the folders, before any of them writes.
        found, failures = from_main(
            lambda: find_images(args.inputs, args.out, args.recursive), ranks
        )
        predictor = predictor_from_flags(args, device)
        choice = OutputChoice(overlay=args.overlay, prob=args.save_prob, bits=args.save_bits)
        files = from_main(
            lambda: plan(found, args.out, predictor, choice, overwrite=args.overwrite), ranks
        )
        mine = dict(list(files.items())[ranks.rank :: ranks.world])
        failed = predict_images(
            mine, predictor, upright=args.upright, threshold=args.threshold, show=ranks.is_main
        )
        for part in gather_objects(failed, ranks):
            failures |= part
        if ranks.is_main:
            report(args.out, files, failures)
    return 2 if failures else 0


def plan(
    found: dict[Path, Path],
    out: Path,
    predictor: Predictor,
    choice: OutputChoice,
    *,
    overwrite: bool,
) -> dict[Path, Files]:
    """The files to write for each image. InputError if one of them may not be written.

    found: what `find_images` found: each image and its path below `out`.
    """
    names = output_names(found)
    files = {path: output_files(out, name, predictor.info, choice) for path, name in names.items()}
    check_outputs(files, overwrite=overwrite)
    return files


def predict_images(
    files: Mapping[Path, Files],
    predictor: Predictor,
    *,
    upright: bool,
    threshold: float,
    show: bool,
) -> dict[Path, Exception]:
    """Write the files of each image; returns the images that failed, with the reason.

    Args:
        files: the outputs of each image.
        predictor: the network.
        upright: turn photographs as their EXIF data say.
        threshold: the least probability of an edge that is drawn.
        show: a progress bar, on a terminal.
    """
    failures: dict[Path, Exception] = {}
    with ThreadPoolExecutor(WRITERS) as pool:
        # At most WRITERS results wait to be written, so memory stays bounded.
        pending: deque[Future[None]] = deque()
        for path, own_files in tqdm(files.items(), unit="image", disable=None if show else True):
            try:
                image = read_input_image(path, upright=upright)
                result = predictor(image)
            except (InputError, OSError) as error:
                failures[path] = error
                continue
            pending.append(
                pool.submit(write_outputs, own_files, image, result, predictor.info, threshold)
            )
            if len(pending) > WRITERS:
                pending.popleft().result()
        for written in pending:
            written.result()
    return failures


def report(out: Path, files: Collection[Path], failures: Mapping[Path, Exception]) -> None:
    """Say where the results are and which inputs failed."""
    done = sum(path not in failures for path in files)
    print(f"{done} of {len(files)} images predicted: see {out}")
    for path, error in failures.items():
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(f"failed: {path}: {reason.removeprefix(f'{path}: ')}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
