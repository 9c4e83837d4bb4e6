"""Draw the semantic edges of images, or their segmentation, as the checkpoint's network does.

    python predict.py street.jpg more/ --checkpoint runs/dff/best.pth --out edges
    python predict.py street.jpg --checkpoint runs/seg/best.pth --out labels --scales 0.5 1 2
    torchrun --nproc-per-node 8 predict.py more/ --checkpoint runs/dff/best.pth --out edges

With torchrun, each GPU takes its share of the images. Each image NAME leaves in --out, from a
network for edges:
    NAME_edges.png, NAME_overlay.png    the classes in colour with a legend, and over the image
    prob/class_001/NAME.png …           --save-prob: 16 bits, probability * 65536, which
                                        test.py --predictions OUT/prob scores
    prob/NAME.npz                       --save-prob npz: float32 (classes, height, width) likewise
    bits/NAME.png                       --save-bits: 24 bits, bit k = edge of class k
                                        (data.edges.encode_png)
and from one for segmentation:
    labels/NAME.png                     the class of each pixel, 8 bits, which
                                        test.py --task seg --predictions OUT scores
    NAME_colors.png, NAME_overlay.png   the classes in colour with a legend, and over the image
and from both, with --side-by-side, NAME_side_by_side.png: the image and the drawing.

Edges are drawn as thin lines at the thresholds that the last validation in training found best for
each class, if the checkpoint has them, else as bands of a probability of 0.5 and more; the flags of
"edges" below choose otherwise. The bits are what is drawn, the probabilities those of the net.

The subfolders of a folder are mirrored. With several inputs, each folder gets a subfolder of its
own name. Images whose names differ only in the ending (a.jpg, a.png) keep it.

Any image that OpenCV reads will do: grey becomes colour, 16 bits are cut to 8, alpha is dropped,
CMYK is converted. Pixels are taken as they are stored, as most data sets are read, or turned as
their EXIF data say if the network was trained on such; --upright and --no-upright choose. An image
that cannot be read, is too large for the memory, or cannot be written is listed at the end, and the
others are done; a full disk ends the run.
"""

from data.errors import quiet_interrupts
from data.system.threads import let_threads_sleep

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow
    let_threads_sleep()

import argparse
import errno
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data import DATASETS
from data.args import Parser, file_path, share, size
from data.errors import InputError, run, users_to_mend
from data.files import require_writable
from data.image_io import read_header
from utils.distributed.group import from_main, gather_objects, own_device, process_group
from utils.inference.args import add_network_flags, predictor_from_flags
from utils.inference.device import pick_device
from utils.inference.edge_lines import EdgeChoice
from utils.inference.image_files import (
    Failures,
    find_images,
    output_names,
    reason_of,
    require_other_folder,
)
from utils.inference.metrics_file import read_thresholds
from utils.inference.outputs import (
    Files,
    OutputChoice,
    check_outputs,
    output_files,
    write_outputs,
)
from utils.inference.predictor import Predictor
from utils.model_info import ModelInfo

# Threads that draw and compress while the network goes on; a Cityscapes image takes over a second.
WRITERS = 4
PROB_FORMATS = ("png", "npz")
EDGE_FLAGS = ("threshold", "thresholds", "thin", "min_length", "nms")
PENDING_BYTES = 1 << 28  # of results that wait to be written
# What keeps a file from being written will keep the next ones from it, too.
ENDS_RUN = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    switch = argparse.BooleanOptionalAction
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "inputs", nargs="+", type=file_path, metavar="INPUT", help="an image or a folder of images"
    )
    parser.add_argument(
        "--recursive",
        action=switch,
        default=True,
        help="take the subfolders of folders too (default)",
    )
    parser.add_argument(
        "--upright",
        action=switch,
        help="turn photographs as EXIF says (default: as the checkpoint's own images were)",
    )

    net = parser.add_argument_group("network")
    net.add_argument("--checkpoint", type=file_path, required=True, metavar="FILE")
    text = "for a file that does not say it: the names and colours of the classes"
    net.add_argument("--dataset", choices=sorted(DATASETS), help=text)
    add_network_flags(net)

    out = parser.add_argument_group("output")
    out.add_argument(
        "--out", type=file_path, required=True, metavar="DIR", help="folder to write to"
    )
    out.add_argument(
        "--overlay", action=switch, default=True, help="write NAME_overlay.png (default)"
    )
    out.add_argument(
        "--side-by-side", action=switch, default=False, help="write NAME_side_by_side.png"
    )
    out.add_argument(
        "--save-prob",
        nargs="?",
        choices=PROB_FORMATS,
        const="png",
        help="edges: write prob/class_001/NAME.png … (png, if no format is named) or prob/NAME.npz",
    )
    text = "edges: write no probabilities (default)"
    out.add_argument(
        "--no-save-prob", action="store_const", const=None, dest="save_prob", help=text
    )
    out.add_argument("--save-bits", action=switch, default=False, help="edges: write bits/NAME.png")
    out.add_argument(
        "--overwrite", action=switch, default=False, help="replace files of an earlier run"
    )
    add_edge_flags(parser.add_argument_group("edges"))
    return parser.parse_args(bare_save_prob(sys.argv[1:] if argv is None else argv))


def add_edge_flags(group: argparse._ArgumentGroup) -> None:
    """The flags that say which edges are drawn."""
    switch = argparse.BooleanOptionalAction
    bounds = group.add_mutually_exclusive_group()
    text = "least probability of an edge, for all classes (default: the checkpoint's, else 0.5)"
    bounds.add_argument("--threshold", type=share, metavar="P", help=text)
    text = "take the best threshold of each class from a metrics.json of test.py"
    bounds.add_argument("--thresholds", type=file_path, metavar="FILE", help=text)
    text = (
        "thin edges to one pixel, as the evaluation does (default: if the thresholds are of "
        "thinned edges, as the checkpoint's are)"
    )
    group.add_argument("--thin", action=switch, help=text)
    text = "leave out thinned lines of fewer pixels (default 0)"
    group.add_argument("--min-length", type=size, default=0, metavar="N", help=text)
    text = "non-maximum suppression: keep the ridges of the probabilities only (default: no)"
    group.add_argument("--nms", action=switch, default=False, help=text)


def bare_save_prob(argv: Sequence[str]) -> list[str]:
    """The words with `--save-prob=png` for a `--save-prob` that no format follows.

    argparse would take the input that follows it for a format.
    """
    words = list(argv)
    for place, word in enumerate(words):
        if word == "--":
            break
        if word == "--save-prob" and words[place + 1 : place + 2] not in (
            [f] for f in PROB_FORMATS
        ):
            words[place] = "--save-prob=png"
    return words


def edge_choice(args: argparse.Namespace, info: ModelInfo) -> EdgeChoice | None:
    """Which edges are drawn; None for segmentation, where a flag of edges is an InputError."""
    if info.task == "seg":
        given = [name for name in EDGE_FLAGS if getattr(args, name) not in (None, 0, False)]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise InputError(f"{flag} is for edges; the checkpoint holds {info.name}")
        return None
    threshold, thin = args.threshold, args.thin
    if args.thresholds is not None:
        threshold, of_thinned = read_thresholds(args.thresholds, info.classes)
        thin = of_thinned if thin is None else thin
    return EdgeChoice.of(
        info, threshold=threshold, thin=thin, min_length=args.min_length, nms=args.nms
    )


def main(args: argparse.Namespace) -> int:
    """Predict all images, each on one of the ranks; returns the exit status, the same on all."""
    device = pick_device(args.device)
    with process_group(device.type) as ranks:
        device = own_device(device, ranks)
        require_other_folder(args.inputs, args.out)
        # One rank looks into the folders, before any of them writes.
        found, failures = from_main(
            lambda: find_images(args.inputs, args.out, args.recursive), ranks
        )
        predictor = predictor_from_flags(args, device, dataset=args.dataset)
        upright = predictor.info.upright if args.upright is None else args.upright
        choice = from_main(lambda: edge_choice(args, predictor.info), ranks)
        files, unwritable = from_main(lambda: plan(found, args, predictor), ranks)
        mine = dict(list(files.items())[ranks.rank :: ranks.world])
        done = predict_images(mine, predictor, upright=upright, choice=choice, show=ranks.is_main)
        failures |= unwritable
        turned = 0
        for part, count in gather_objects(done, ranks):
            failures |= part
            turned += count
        if ranks.is_main:
            if choice is not None:
                print(f"edges: {choice.describe()}")
            report(args.out, found, failures, 0 if upright else turned)
    return 2 if failures else 0


def plan(
    found: dict[Path, Path], args: argparse.Namespace, predictor: Predictor
) -> tuple[dict[Path, Files], Failures]:
    """The files to write for each image, and the images whose files cannot be written.

    found: what `find_images` found: each image and its path below the output folder. InputError
    if a file may not be written.
    """
    choice = OutputChoice(
        overlay=args.overlay,
        side_by_side=args.side_by_side,
        prob=args.save_prob == "png",
        npz=args.save_prob == "npz",
        bits=args.save_bits,
    )
    files = {
        path: output_files(args.out, name, predictor.info, choice)
        for path, name in output_names(found).items()
    }
    failures = check_outputs(files, args.checkpoint, overwrite=args.overwrite)
    require_writable(args.out)
    return {path: own for path, own in files.items() if path not in failures}, failures


def predict_images(
    files: Mapping[Path, Files],
    predictor: Predictor,
    *,
    upright: bool,
    choice: EdgeChoice | None,
    show: bool,
) -> tuple[Failures, int]:
    """Write the files of each image.

    Returns the images that failed, with the reason, and the number of images that EXIF data turn.

    Args:
        files: the outputs of each image.
        predictor: the network.
        upright: turn photographs as their EXIF data say.
        choice: which edges are drawn; None for segmentation.
        show: a progress bar, on a terminal.
    """
    failures: Failures = {}
    turned = 0
    with ThreadPoolExecutor(WRITERS) as pool:
        # A few results wait to be written, so memory stays bounded.
        pending = Pending(failures)
        for path, own_files in tqdm(files.items(), unit="image", disable=None if show else True):
            try:
                image = predictor.read(path, upright=upright)
                turned += read_header(path).orientation != 1
                result = predictor(image)
            except Exception as error:
                if not users_to_mend(error):
                    raise
                failures[path] = error
                continue
            written = pool.submit(write_outputs, own_files, image, result, predictor.info, choice)
            pending.add(path, written, image.nbytes + result.nbytes)
        pending.wait_for_all()
    return failures, turned


class Pending:
    """The images that are being written.

    failures: gets those that could not be; what would fail for all images is raised.
    """

    def __init__(self, failures: Failures) -> None:
        self.failures = failures
        self.images: deque[tuple[Path, Future[None], int]] = deque()

    def add(self, path: Path, written: "Future[None]", size: int) -> None:
        """Another image, whose result has `size` bytes; waits while there are too many."""
        self.images.append((path, written, size))
        while len(self.images) > WRITERS or sum(held for *_, held in self.images) > PENDING_BYTES:
            self._wait_for_first()

    def wait_for_all(self) -> None:
        """Until all are written."""
        while self.images:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        path, written, _ = self.images.popleft()
        try:
            written.result()
        except Exception as error:
            if not users_to_mend(error) or getattr(error, "errno", None) in ENDS_RUN:
                raise
            self.failures[path] = error


def report(
    out: Path, images: Collection[Path], failures: Mapping[Path, Exception], turned: int
) -> None:
    """Say where the results are, which inputs failed, and what may surprise.

    turned: the number of images that EXIF data turn and that were taken as stored.
    """
    done = sum(path not in failures for path in images)
    print(f"{done} of {len(images)} images predicted: see {out}")
    for path, error in failures.items():
        print(f"failed: {path}: {reason_of(path, error)}", file=sys.stderr)
    if turned:
        carry, they = ("image carries", "it is") if turned == 1 else ("images carry", "they are")
        print(
            f"note: {turned} {carry} an EXIF orientation; {they} predicted as stored, "
            f"--upright turns {'it' if turned == 1 else 'them'}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
