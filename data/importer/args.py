"""The command line of the importer, and the files that it names."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.args import MAX_WORKERS, Parser, file_path, number, seed, text, whole
from data.dataset_file import Color, parse_color
from data.errors import InputError
from data.files import read_json, read_list
from data.importer.annotations import ReaderOptions
from data.importer.formats import FORMATS
from data.importer.splits import SplitChoice, split_name

MAX_LINE_WIDTH = 1000
share = number(0, 1e6, above=True)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.importer",
        description="Make a folder that --dataset folder reads from anybody's annotations.",
        epilog="SOURCE: "
        + "; ".join(f"{kind}: {entry.source}" for kind, entry in FORMATS.items())
        + ".",
    )
    parser.add_argument("kind", metavar="KIND", choices=FORMATS, help=", ".join(FORMATS))
    parser.add_argument("source", metavar="SOURCE", type=file_path, help="see below")
    parser.add_argument(
        "--images",
        type=file_path,
        metavar="DIR",
        help="the folder of the images, which may have folders; if not given, SOURCE for labelme, "
        "and SOURCE/JPEGImages for voc",
    )
    parser.add_argument(
        "--out", type=file_path, required=True, metavar="DIR", help="the folder to make"
    )
    _add_label_flags(parser.add_argument_group("labels"))
    _add_split_flags(parser.add_argument_group("splits (the format's own, if not given)"))
    _add_image_flags(parser.add_argument_group("images and work"))
    return parser.parse_args(argv)


def _add_label_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--classes",
        nargs="+",
        type=text,
        default=[],
        metavar="NAME",
        help="take these labels only, in this order",
    )
    group.add_argument(
        "--ignored",
        nargs="+",
        type=text,
        default=[],
        metavar="NAME",
        help="labels of pixels that count neither as a class nor as background",
    )
    group.add_argument(
        "--background",
        type=text,
        metavar="NAME",
        help="what segmentation calls pixels without a label; none: they are no class. Default: "
        "background, or none where the format labels all pixels",
    )
    group.add_argument(
        "--palette",
        type=file_path,
        metavar="FILE",
        help='colors: JSON {"road": [128, 64, 128]}',
    )
    group.add_argument(
        "--class-names",
        type=file_path,
        metavar="FILE",
        help='ids, ade: JSON {"road": 7}, or a name a line, from id 0 on (ade: from 1)',
    )
    group.add_argument(
        "--line-width",
        type=whole(0, MAX_LINE_WIDTH),
        default=0,
        metavar="PX",
        help="draw lines and points this wide; without it they are left out",
    )


def _add_split_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--split",
        type=text,
        metavar="NAME",
        help="all images are in this split: one run for each of train, val, ...",
    )
    group.add_argument(
        "--splits",
        nargs="+",
        type=_named_share,
        metavar="NAME=SHARE",
        help="shares that a hash of the image's name decides (train=0.7 val=0.15 test=0.15)",
    )
    group.add_argument(
        "--seed",
        type=seed,
        help="of the shares; the one that comes closest to them, if not given",
    )
    group.add_argument(
        "--split-by",
        choices=("name", "folder"),
        help="folder: images of one folder are in one split (frames of a video)",
    )


def _add_image_flags(group: argparse._ArgumentGroup) -> None:
    boolean = argparse.BooleanOptionalAction
    group.add_argument(
        "--unlabelled",
        choices=("skip", "keep"),
        default="skip",
        help="images that no annotation names: left out (the default), or with empty labels",
    )
    group.add_argument(
        "--upright",
        action=boolean,
        default=None,
        help="annotations are drawn on images as EXIF data turn them; found out, if not given",
    )
    group.add_argument(
        "--link",
        action=boolean,
        default=True,
        help="images are hard links where that is possible; --no-link: copies",
    )
    group.add_argument(
        "--workers", type=whole(1, MAX_WORKERS), default=1, metavar="N", help="processes"
    )
    group.add_argument(
        "--overwrite",
        action=boolean,
        default=False,
        help="make also what is up to date, and replace files of others",
    )


def _named_share(word: str) -> tuple[str, float]:
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"found {word[:40]!r}, expected NAME=SHARE")
    try:
        return split_name(name), share(value)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def split_choice(args: argparse.Namespace) -> SplitChoice:
    """What the flags say about splits; InputError if they contradict each other."""
    if args.split and (args.splits or args.seed is not None or args.split_by):
        raise InputError("--split puts all images into one split; leave out --splits, --seed, "
                         "--split-by, or --split")  # fmt: skip
    if args.splits and len(dict(args.splits)) < len(args.splits):
        raise InputError("--splits: names a split twice")
    return SplitChoice(
        split_name(args.split) if args.split else None,
        dict(args.splits) if args.splits else None,
        args.seed,
        None if args.split_by is None else args.split_by == "folder",
    )


FIRST_IDS = {"ade": 1}  # of a list of class names: there 0 is none


def reader_options(args: argparse.Namespace, images: Path, *, in_place: bool) -> ReaderOptions:
    """What readers are to know of the flags."""
    first = FIRST_IDS.get(args.kind, 0)
    return ReaderOptions(
        images,
        tuple(args.classes),
        tuple(args.ignored),
        read_palette(args.palette) if args.palette else None,
        read_class_names(args.class_names, first) if args.class_names else None,
        args.line_width,
        args.out,
        in_place,
    )


def read_palette(path: Path) -> dict[str, Color]:
    """The colours of --palette: a JSON object, name -> [red, green, blue]."""
    found = read_json(path, "palette")
    if not isinstance(found, dict) or not found:
        raise InputError(f'{path}: expected an object like {{"road": [128, 64, 128]}}')
    return {name: parse_color(color, f"{path}: {name[:40]!r}") for name, color in found.items()}


def read_class_names(path: Path, first: int = 0) -> dict[str, int]:
    """The ids of --class-names: a JSON object, name -> id, or a list, whose lines count them.

    first: the id of the list's first line.
    """
    if path.suffix.lower() != ".json":
        names = read_list(path, str)
        if len(set(names)) < len(names):
            raise InputError(f"{path}: a name occurs twice")
        return {name: number for number, name in enumerate(names, first)}
    found = read_json(path, "file of class names")
    if not isinstance(found, dict) or not found:
        raise InputError(f'{path}: expected an object like {{"road": 7}}')
    for name, value in found.items():
        if type(value) is not int or not 0 <= value <= 65535:
            raise InputError(
                f"{path}: {name[:40]!r} is {str(value)[:40]}; expected an id, 0 to 65535"
            )
    return found
