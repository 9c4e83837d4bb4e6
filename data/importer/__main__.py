"""Make a folder that `--dataset folder` reads from anybody's annotations.

    python -m data.importer coco annotations.json --images photos --out datasets/mine
    python -m data.importer coco train.json --images photos --out datasets/mine --split train
    python -m data.importer ids datasets/mine/labels --images datasets/mine/images \\
        --out datasets/mine

Writes OUT/images/, OUT/labels/, OUT/instances/ if the format has objects, and OUT/dataset.json; a
second source with --split NAME adds to them. A repeated run makes what is missing or stale. The
last form only writes OUT/dataset.json for label maps that are there already (ids, colors).
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from data.errors import InputError, run
from data.gtlabel.pool import WorkOptions
from data.importer.args import parse_args, reader_options, split_choice
from data.importer.in_place import is_in_place, run_in_place
from data.importer.run import Request, run_import


def main(args: argparse.Namespace) -> int:
    """Make what is missing or stale, and dataset.json; returns the exit status."""
    images = images_folder(args)
    request = Request(
        args.kind,
        args.source,
        reader_options(args, images, in_place=False),
        args.out,
        split_choice(args),
        args.background,
        args.unlabelled == "keep",
        args.upright,
        args.link,
        WorkOptions(args.workers, overwrite=args.overwrite),
    )
    if is_in_place(request):
        return run_in_place(replace(request, options=replace(request.options, in_place=True)))
    return run_import(request)


def images_folder(args: argparse.Namespace) -> Path:
    """--images, or where a format's images lie: LabelMe's beside its files, PASCAL VOC's below."""
    if not args.source.exists():
        raise FileNotFoundError(f"{args.source}: no such file or folder (SOURCE)")
    usual = {"labelme": args.source, "voc": args.source / "JPEGImages"}
    images = args.images or usual.get(args.kind)
    if images is None:
        raise InputError("--images DIR is needed: the folder of the images")
    if not images.is_dir():
        where = "--images " if args.images else ""
        what = "is a file; expected a folder" if images.is_file() else "no such folder"
        hint = "" if args.images else f" ({args.kind} without --images looks for images there)"
        raise FileNotFoundError(f"{where}{images}: {what}{hint}")
    return images


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
