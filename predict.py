"""Draw the semantic edges of images, or their segmentation, as the checkpoint's network does.

    python predict.py street.jpg more/ --checkpoint runs/dff/best.pth --out edges
    python predict.py street.jpg --checkpoint runs/seg/best.pth --out labels --scales 0.5 1 2
    python predict.py drive.mp4 'photos/**/*.jpg' --checkpoint runs/dff/best.pth --out edges
    find photos -name '*.jpg' | python predict.py - --checkpoint runs/dff/best.pth --out edges
    python predict.py camera:0 --checkpoint runs/dff/best.pth --out edges
    torchrun --nproc-per-node 8 predict.py more/ --checkpoint runs/dff/best.pth --out edges

With torchrun, each GPU takes its share of the images. Each image NAME leaves in --out, from a
network for edges:
    NAME_edges.png, NAME_overlay.png    the classes in colour with a legend, and over the image
    prob/class_001/NAME.png …           --save-prob: 16 bits, probability * 65536, which
                                        test.py --predictions OUT/prob scores
    prob/NAME.npz                       --save-prob npz: float32 (classes, height, width) likewise
    bits/NAME.png                       --save-bits: 24 bits, bit k = edge of class k
                                        (data.edges.encode_png)
    vector/NAME.geojson, .svg, .json    --vector geojson,svg,labelme: polylines for each class
and from one for segmentation:
    labels/NAME.png                     the class of each pixel, 8 bits, which
                                        test.py --task seg --predictions OUT scores
    NAME_colors.png, NAME_overlay.png   the classes in colour with a legend, and over the image
    NAME_edges.png                      --outlines: the outlines of the label map as edges, to which
                                        --save-bits and --vector apply as well
    NAME_edges.png, NAME_edges_overlay.png   --edges: those of the net's edge head, of the same run;
                                        all flags of edges apply
and from both, with --side-by-side, NAME_side_by_side.png: the image and the drawing.

A video or camera leaves NAME_overlay.mp4, without sound, in place of these; --no-overlay the edges
or colours alone. --save-prob and --save-bits write a file for each frame, NAME/000001.png and so on
(--save-frames all that an image gets). Ctrl-C completes a camera's video; of a file it leaves none.

Edges are drawn as thin lines at the thresholds that the last validation in training found best for
each class, if the checkpoint has them, else as bands of a probability of 0.5 and more; the flags of
"edges" below choose otherwise. The bits are what is drawn, the probabilities those of the net.

The subfolders of a folder are mirrored, as is what the wildcards of a pattern stand for, and what
lies below the folder that all paths of a list have in common. With several inputs, each folder gets
a subfolder of its own name. Inputs whose names differ only in the ending (a.jpg, a.png) keep it.

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
import itertools
import sys
from collections.abc import Sequence

from data.errors import run
from utils.distributed.group import from_main, gather_objects, own_device, process_group
from utils.inference.args import announce, predictor_from_flags
from utils.inference.device import pick_device
from utils.inference.temperature import describe
from utils.prediction.args import (
    edge_choice,
    output_choice,
    parse_predict_args,
    require_edge_output,
)
from utils.prediction.done import Done, report
from utils.prediction.image_files import find_images, require_other_folder
from utils.prediction.page.index import PageHead, write_page
from utils.prediction.plan import make_plan, says_how_to_go_on
from utils.prediction.run import predict_images
from utils.prediction.video.run import predict_videos


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
        if ranks.is_main:
            announce(predictor)
        upright = predictor.info.upright if args.upright is None else args.upright
        temperature = predictor.options.temperature
        choice = from_main(
            lambda: edge_choice(
                args,
                predictor.info,
                temperature,
                has_edge_output=predictor.has_edge_head,
            ),
            ranks,
        )
        require_edge_output(args, predictor.engine.outputs)
        plan = from_main(
            lambda: make_plan(
                found,
                args.out,
                output_choice(args),
                predictor.info,
                checkpoint=args.checkpoint,
                overwrite=args.overwrite,
                skip_existing=args.skip_existing,
                save_frames=args.save_frames,
            ),
            ranks,
        )
        mine = plan.share(ranks.rank, ranks.world)
        how = {"choice": choice, "show": ranks.is_main}
        with says_how_to_go_on(plan, overwrite=args.overwrite, show=ranks.is_main):
            done = [
                predict_images(mine.images, predictor, upright=upright, **how),
                predict_videos(mine.videos, predictor, max_frames=args.max_frames, **how),
            ]
        total = Done.sum(itertools.chain(*gather_objects(done, ranks)))
        total.failures = failures | plan.failures | total.failures
        page = ""
        if args.page and not plan.names:
            page = "page: none is written, videos are not on it"
        elif args.page:
            head = PageHead(args.checkpoint, predictor.info, choice)
            # The others wait: torchrun ends all ranks once one has ended with status 2.
            page = from_main(lambda: write_page(args.out, plan.names, total.failures, head), ranks)
        if ranks.is_main:
            if side := predictor.options.base_size:
                print(
                    f"size: {side} pixels on the long side, for the net (--base-size 0: as it is)"
                )
            if temperature != 1:
                print(f"temperature: {describe(temperature)}")
            if choice is not None:
                print(f"edges: {choice.describe()}")
            report(args.out, found, plan, total, upright=upright)
            if page:
                print(page)
    return 2 if total.failures else 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
