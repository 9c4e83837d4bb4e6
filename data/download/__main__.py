"""Fetch the data sets that may be fetched, and print the steps to get the others.

    python -m data.download camvid              -> datasets/camvid
    python -m data.download sbd                 -> datasets/sbd
    python -m data.download kitti-semantics     -> datasets/kitti
    python -m data.download cityscapes          prints the steps; so do bdd, kitti-odometry and
                                                mapillary

After a cut connection run it again: it resumes where it was. The archive is checked by SHA-256
and kept in datasets/downloads; the data set appears complete or not at all, in the layout that
`data.build_dataset` reads.
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from data.args import Parser, number
from data.download.archive import STAMP, unpack
from data.download.fetch import fetch, keep_sha256
from data.download.sources import SOURCES, STEPS, Source
from data.errors import InputError, run
from data.files import read_json, require_writable

MAX_TIMEOUT = 86_400  # seconds, a day


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `argv`."""
    parser = Parser(
        prog="python -m data.download",
        description="Fetch a data set, or print the steps to get it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("dataset", choices=[*SOURCES, *STEPS])
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the data set's folder; datasets/NAME if not given"
    )
    parser.add_argument(
        "--downloads",
        type=Path,
        metavar="DIR",
        help="for the archive; OUT/../downloads if not given",
    )
    parser.add_argument("--url", help="fetch the archive from here instead, a mirror for instance")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the archive when it is unpacked",
    )
    parser.add_argument(
        "--timeout",
        type=number(0, MAX_TIMEOUT, above=True),
        default=60,
        help="seconds without a byte that count as a cut connection",
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Fetch, check, unpack; or print the steps. Returns the exit status."""
    if args.dataset in STEPS:
        print(STEPS[args.dataset].format(out=args.out or Path("datasets", args.dataset)))
        return 0
    source = SOURCES[args.dataset]
    out = args.out or Path("datasets", source.dataset)
    if (out / STAMP).is_file():
        _require_same(out, args.dataset)
        print(f"{out} holds {args.dataset} already")
        return 0
    place = _require_free(out)
    downloads = Path(os.path.realpath(args.downloads or out.parent / "downloads"))
    if downloads == place or place in downloads.parents:
        raise InputError(
            f"--downloads {downloads}: lies in --out {out}, which appears in one step; give "
            "another folder"
        )
    archive = (args.downloads or out.parent / "downloads") / source.archive
    url = args.url or source.url
    found = fetch(url, archive, sha256=source.sha256, timeout=args.timeout)
    print(f"{archive}: SHA-256 {found}, {_describe_check(source)}")
    stamp = {"dataset": args.dataset, "url": url, "sha256": found}
    count = unpack(archive, place, source, stamp)
    # Kept only now that the archive has proved to be the data set.
    keep_sha256(archive, found)
    print(f"{out}: {count} files")
    if not args.keep:
        archive.unlink()
    return 0


def _require_same(out: Path, name: str) -> None:
    """InputError if the folder holds another data set. (Old stamps do not say which.)"""
    stamp = read_json(out / STAMP)
    held = stamp.get("dataset", name) if isinstance(stamp, dict) else None
    if held != name:
        raise InputError(
            f"{out} holds {held or 'something else'}, not {name}; choose another --out"
        )


def _require_free(out: Path) -> Path:
    """Where a data set can be put: the whole path of a folder that is empty or not there yet.

    InputError, before anything is fetched, where it could not appear in one step.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and was not made by this command; choose another --out")
    # Links and dots are resolved, so that there is a name; never raises, unlike Path.resolve.
    place = Path(os.path.realpath(out))
    if out.exists() and (place.samefile(Path.cwd()) or os.path.ismount(place)):
        raise InputError(
            f"{out} is the current folder or a mount point, which cannot be replaced by the data "
            "set; give a folder below it"
        )
    require_writable(place.parent)
    return place


def _describe_check(source: Source) -> str:
    if source.sha256:
        return "as published"
    if source.images_sha256:
        return "which differs from day to day; the images in it are checked instead"
    return "with no published one to compare it with; kept beside it, and compared next time"


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
