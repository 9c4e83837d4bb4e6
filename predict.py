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
import sys
from collections.abc import Sequence

from data.errors import run
from utils.distributed.group import from_main, gather_objects, own_device, process_group
from utils.inference.args import predictor_from_flags
from utils.inference.device import pick_device
from utils.prediction.args import edge_choice, output_choice, parse_predict_args
from utils.prediction.image_files import find_images, require_other_folder
from utils.prediction.run import plan, predict_images, report


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    return parse_predict_args(__doc__ or "", argv)


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
        if predictor.note and ranks.is_main:
            print(predictor.note)
        upright = predictor.info.upright if args.upright is None else args.upright
        choice = from_main(lambda: edge_choice(args, predictor.info), ranks)
        files, unwritable = from_main(
            lambda: plan(
                found,
                args.out,
                output_choice(args),
                predictor.info,
                checkpoint=args.checkpoint,
                overwrite=args.overwrite,
            ),
            ranks,
        )
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


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
