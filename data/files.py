"""Text files and safe writing: lists, JSON, files that appear complete or not at all.

Finding and pairing files is in `data.names`, images are in `data.image_io`. Imported by modules
that must start quickly, so it imports `data.errors` and the standard library.
"""

import codecs
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

from data.errors import InputError, one_line

T = TypeVar("T")

NAME_MAX = 255  # bytes of a file's name on every common file system
SHOWN_LINES = 3
PROBE_BYTES = 1 << 16  # written to see whether a folder takes files
OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@contextlib.contextmanager
def write_aside(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    If the block raises, the temporary file is removed. So a killed process or a full disk leaves
    the old file or none, never half a file. With `sync` the content is also on disk before the
    rename and survives a power cut; that takes about 5 ms, too much for images made by thousands.

    An OSError names `path`, not the temporary file. InputError if `path` has no name of its own.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise InputError(f"{path}: is a folder; expected the path of a file to write")
    aside = path.with_name(_aside_name(path.name))
    try:
        _make_folder(path.parent)
        try:
            yield aside
            if sync:
                with aside.open("rb+") as file:
                    os.fsync(file.fileno())
            aside.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                aside.unlink()
    except OSError as error:
        # A full disk names no file at all, the rest the temporary one.
        ours = error.filename is None or Path(os.fsdecode(error.filename)) == aside
        if ours and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def _make_folder(folder: Path) -> None:
    """The folder, and those above it; NotADirectoryError, and not FileExistsError, for a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), error.filename) from error


def _aside_name(name: str) -> str:
    """A hidden file in the same folder: a rename is atomic within one file system only."""
    aside = f".{name}.{os.getpid()}.part"
    if len(os.fsencode(aside)) <= NAME_MAX:
        return aside
    short = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{short}.{os.getpid()}.part"


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the first free of PATH.1, PATH.2, ...; returns that path."""
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    path.rename(free)
    return free


def resolved(path: str | Path) -> Path:
    """The path without links. A loop of links stays, and whoever opens it gets an OSError.

    (Before Python 3.13, `Path.resolve` raises RuntimeError there.)
    """
    return Path(os.path.realpath(path))


def require_file(path: str | Path, what: str = "file") -> Path:
    """The path, if a regular file is there.

    FileNotFoundError if nothing is; InputError for a folder, and for a named pipe, socket or
    device, which could keep a reader waiting for ever.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"{path}: no such {what}") from error
    except ValueError as error:  # a zero byte in the path
        raise InputError(f"{str(path)!r}: is no path of a {what} ({error})") from error
    expected = f"expected {'an' if what[0] in 'aeiou' else 'a'} {what}"
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; {expected}")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is a named pipe, a socket or a device; {expected}")
    return path


def require_writable(folder: str | Path, flag: str = "--out") -> None:
    """InputError, which names the flag, unless files can be written into a folder.

    Nothing is left there: folders that had to be made for the try are removed again.
    """
    folder = Path(folder)
    created: list[Path] = []
    try:
        created += [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))  # a full disk takes empty files
            probe.flush()
    except OSError as error:
        why = "a file is in the way" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(
            f"{flag} {folder}: cannot be written to ({why}); give another folder"
        ) from error
    finally:
        for place in created:
            with contextlib.suppress(OSError):
                place.rmdir()


def require_space(folder: str | Path, needed: int, what: str) -> None:
    """InputError unless the file system of a folder, which need not exist, has `needed` bytes."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{folder}: {what} needs {needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; make "
            "room, or choose another folder"
        )


@contextlib.contextmanager
def reading(path: str | Path, advice: str = "replace it") -> Iterator[None]:
    """Turn whatever a library raises about a file into an InputError with the file's name.

    To be put around calls of libraries only, never around code of ours: Pillow, zipfile, lzma,
    NumPy and SciPy raise some twenty kinds of exceptions for damaged files.
    """
    try:
        yield
    except (InputError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise MemoryError(f"{path}: {error}" if str(error) else f"{path}") from error
    except OSError as error:
        if error.filename is not None and error.errno is not None:
            raise
        raise InputError(
            f"{path}: the file cannot be read ({one_line(error)}); {advice}"
        ) from error
    except Exception as error:
        raise InputError(
            f"{path}: the file cannot be read ({one_line(error)}); {advice}"
        ) from error


def read_text(path: str | Path, what: str = "text file") -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    InputError that names the encoding, or the line that is no UTF-8.
    """
    content = require_file(path, what).read_bytes()
    for mark, encoding in OTHER_ENCODINGS:
        if content.startswith(mark):
            raise InputError(f"{path}: is {encoding}; expected UTF-8, save it as that")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: is not UTF-8 (byte 0x{content[error.start]:02x}; Latin-1, perhaps); "
            "save it as UTF-8"
        ) from error


def read_json(path: str | Path, what: str = "JSON file") -> Any:
    """What a JSON file holds; InputError for anything that is no JSON."""
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str, where: str) -> Any:
    """What a JSON text holds. where: its file, or file:line, for the InputError.

    NaN, numbers beyond a double and a name that occurs twice are no JSON here: Python would take
    them, and what they mean is anybody's guess.
    """
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            object_pairs_hook=_object_of,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{where}: is no JSON ({reason})") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise ValueError(f"{twice!r} occurs twice")
    return found


def read_list(path: str | Path, parse: Callable[[str], T]) -> list[T]:
    """Return one item for each line of a list file that is not empty.

    InputError with the number of lines that `parse` raises ValueError or IndexError for, and the
    first of them with its reason.
    """
    items, faults = [], []
    # Not `splitlines`, which also splits at characters that names may hold.
    lines = re.split(r"\r\n|\n|\r", read_text(path, "list file"))
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                items.append(parse(line.strip()))
            except (ValueError, IndexError) as error:
                faults.append(f"line {number}, {line.strip()[:80]!r}: {error}")
    if faults:
        raise InputError(
            f"{path}: {len(faults)} of {len(faults) + len(items)} lines cannot be read: "
            f"{first_few(faults, SHOWN_LINES, '; ')}"
        )
    return items


def paths_of_line(line: str, count: int) -> list[PurePosixPath]:
    """The `count` paths that a line of a list holds, all below the data set's folder.

    ValueError that says why for another number of paths, and for a path that leads elsewhere.
    """
    parts = line.split()
    if len(parts) != count:
        expected = f"expected {count} path{'s' * (count > 1)} without spaces"
        raise ValueError(f"found {len(parts)} parts, {expected}")
    return [inner_path(part) for part in parts]


def inner_path(text: str) -> PurePosixPath:
    """A path that stays below the folder that it is relative to; ValueError for any other."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in text or "\0" in text:
        raise ValueError(f"{text!r} is no path below the data set's folder")
    return path


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hex digits, which names it wherever it lies."""
    with require_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_few(items: Iterable[object], count: int = 3, between: str = ", ") -> str:
    """The first items for an error message: "a, b, c, …"."""
    shown = [str(item) for item in items]
    return between.join(shown[:count]) + (f"{between}…" if len(shown) > count else "")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list file, one item a line."""
    with write_aside(path) as aside:
        aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
