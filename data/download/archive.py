"""Unpacking an archive into a data set's folder, which appears complete or not at all."""

import fnmatch
import hashlib
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from data import build_dataset
from data.download.sources import Source
from data.errors import InputError, one_line
from data.files import file_sha256, reading, require_space, write_aside

STAMP = "download.json"
CHUNK = 1 << 20  # bytes
DELETE = "delete it and run again"


def unpack(archive: Path, out: Path, source: Source, stamp: dict[str, str]) -> int:
    """Unpack beside `out`, check, and rename; returns the number of files.

    InputError, with nothing left behind, for a damaged archive, one of something else, and one that
    does not fit on the disk.

    Args:
        archive: a zip or tar file.
        out: the data set's folder, a path with a name of its own.
        source: says which folders of the archive to take, and what to check.
        stamp: to be kept in download.json in `out`, with the number of files.
    """
    aside = out.with_name(f".{out.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    try:
        count = _unpack_into(aside, archive, source)
        _require_data_set(aside, archive, source)
        with write_aside(aside / STAMP) as file:
            file.write_text(json.dumps(stamp | {"files": count}, indent=1) + "\n", encoding="utf-8")
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def _require_data_set(folder: Path, archive: Path, source: Source) -> None:
    """InputError, in which `folder` does not occur, unless the data set can be opened there."""
    found = images_sha256(folder) if source.images_sha256 else None
    if found != source.images_sha256:
        raise InputError(
            f"{archive}: the SHA-256 of its images is {found}, expected "
            f"{source.images_sha256}; delete it and try again; if this repeats, the publisher "
            "has changed the data set"
        )
    try:
        for split in source.splits:
            build_dataset(source.dataset, folder, split)  # says which file is missing
    except (InputError, OSError) as error:
        text = one_line(error).replace(f"{folder}/", "").replace(str(folder), "it")
        raise InputError(
            f"{archive}: is not the archive of {source.url}, or not all of it ({text}); {DELETE}"
        ) from error


def images_sha256(folder: Path) -> str:
    """The SHA-256 of what `sha256sum` prints for all PNGs below `folder`, sorted by path.

    So it covers content and names, not dates.
    """
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.relative_to(folder).parts)
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _unpack_into(folder: Path, archive: Path, source: Source) -> int:
    count = 0
    folder.mkdir()
    _require_space_for_zip(archive, folder, source)
    for name, size, file in tqdm(_members(archive), desc="unpacking", unit="file", disable=None):
        place = _place(name, source.inside, archive)
        if place is not None:
            _copy(file, folder, place, size, archive)
            count += 1
    if not count:
        raise InputError(
            f"{archive}: holds no {'/'.join(source.inside) or 'files'}; it is not the archive of "
            f"{source.url}"
        )
    return count


def _require_space_for_zip(archive: Path, folder: Path, source: Source) -> None:
    """Compare all sizes that a zip archive declares with the free space, before writing anything.

    A tar archive has no such list; `_copy` compares each size.
    """
    with reading(archive, DELETE):
        if not zipfile.is_zipfile(archive):
            return
        with zipfile.ZipFile(archive) as opened:
            sizes = [(member.filename, member.file_size) for member in opened.infolist()]
    needed = sum(size for name, size in sizes if _place(name, source.inside, archive) is not None)
    require_space(folder.parent, needed, f"what {archive} holds")


def _copy(file: IO[bytes], folder: Path, place: PurePosixPath, size: int, archive: Path) -> None:
    require_space(folder.parent, size, f"{place} of {archive}")
    target = folder / place
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:  # two files of one name are a fault
            while chunk := _read(file, archive):
                copy.write(chunk)
    except OSError as error:
        raise InputError(
            f"{archive}: {str(place)!r} of it cannot be written below {folder.parent} "
            f"({error.strerror})"
        ) from error


def _read(file: IO[bytes], archive: Path) -> bytes:
    with reading(archive, DELETE):
        return file.read(CHUNK)


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield (name, size, open file) of every plain file of a zip or tar archive.

    Links are left out. InputError for whatever zipfile and tarfile raise.
    """
    with reading(archive, DELETE):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    if not member.is_dir():
                        with opened.open(member) as file:
                            yield member.filename, member.file_size, file
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                for member in opened:
                    file = opened.extractfile(member) if member.isfile() else None
                    if file is not None:
                        yield member.name, member.size, file
        else:
            raise InputError(
                f"{archive}: is neither a zip nor a tar archive (a web page, perhaps); {DELETE}"
            )


def _place(name: str, inside: tuple[str, ...], archive: Path) -> PurePosixPath | None:
    """Where a file of the archive goes, below the data set's folder; None: it is left out."""
    path = PurePosixPath(name)
    # The archive comes from the network: a path must not lead out of the folder.
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InputError(
            f"{archive}: holds {name!r}, which points out of its folder; it is not to be trusted, "
            "delete it"
        )
    above, below = path.parts[: len(inside)], path.parts[len(inside) :]
    if not below or not all(map(fnmatch.fnmatchcase, above, inside)):
        return None
    return PurePosixPath(*below)
