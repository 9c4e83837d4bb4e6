"""Unpacking an archive into a data set's folder, which appears complete or not at all."""

import fnmatch
import hashlib
import json
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from data import build_dataset
from data.download.sources import Source
from data.errors import InputError
from data.files import file_sha256, write_aside

STAMP = "download.json"
BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)


def unpack(archive: Path, out: Path, source: Source, stamp: dict[str, str]) -> int:
    """Unpack beside `out`, check, and rename; returns the number of files.

    Args:
        archive: a zip or tar file.
        out: the data set's folder.
        source: says which folders of the archive to take, and what to check.
        stamp: to be kept in download.json in `out`, with the number of files.
    """
    aside = out.with_name(f".{out.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    try:
        count = _unpack_into(aside, archive, source)
        found = images_sha256(aside) if source.images_sha256 else None
        if found != source.images_sha256:
            raise InputError(
                f"{archive}: the SHA-256 of its images is {found}, expected "
                f"{source.images_sha256}; delete it and try again; if this repeats, the publisher "
                "has changed the data set"
            )
        for split in source.splits:
            build_dataset(source.dataset, aside, split)  # says which file is missing
        with write_aside(aside / STAMP) as file:
            file.write_text(json.dumps(stamp | {"files": count}, indent=1) + "\n", encoding="utf-8")
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def images_sha256(folder: Path) -> str:
    """The SHA-256 of what `sha256sum` prints for all PNGs below `folder`, sorted by path.

    So it covers content and names, not dates.
    """
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
            f"{archive}: cannot be unpacked ({type(error).__name__}: {error}); delete it and run "
            "again"
        ) from error
    if not count:
        raise InputError(
            f"{archive}: holds no {'/'.join(source.inside) or 'files'}; it is not the archive of "
            f"{source.url}"
        )
    return count


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield (name, open file) of every plain file of a zip or tar archive; links are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir():
                    with opened.open(member) as file:
                        yield member.filename, file
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            for member in opened:
                file = opened.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name, file
    else:
        raise InputError(
            f"{archive}: is neither a zip nor a tar archive (a web page, perhaps); delete it and "
            "run again"
        )


def _place(name: str, inside: tuple[str, ...]) -> PurePosixPath | None:
    """Where a file of the archive goes, below the data set's folder; None: it is left out."""
    path = PurePosixPath(name)
    # The archive comes from the network: a path must not lead out of the folder.
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(
            f"the archive holds {name!r}, which points out of its folder; it is not to be trusted"
        )
    above, below = path.parts[: len(inside)], path.parts[len(inside) :]
    if not below or not all(map(fnmatch.fnmatchcase, above, inside)):
        return None
    return PurePosixPath(*below)
