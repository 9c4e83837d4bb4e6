"""Which files there are, and which of them belong together: one set of rules for all scripts.

Finding: hidden files and folders (macOS leaves some) are no data; linked folders are followed, and
loops noticed; endings count in any case (a.PNG); only regular files count.
Naming: a file's name is its path below the folder that was searched, without its ending, in
Unicode's composed form (NFC), since macOS and Linux spell "é" in two ways.
Pairing: `match_names`, one to one.
"""

import errno
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import first_few

# Of all kinds of image files that `data.image_io` reads.
IMAGE_ENDINGS = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
# Of videos that OpenCV's FFmpeg reads. Not ".ts", which is TypeScript more often.
VIDEO_ENDINGS = (
    ".3gp",
    ".avi",
    ".flv",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".ogv",
    ".webm",
    ".wmv",
)
# Names of one image differ by these endings between data sets, label files and predictions.
ENDINGS = re.compile(r"_(leftImg8bit|gtFine(_\w+)?|edge)\Z")
Identity = tuple[int, int]  # of a folder, by whatever path: device and inode
# What label scripts write beside label maps when they are given the data set's own folder.
EDGE_LABEL = re.compile(r"_edge(_\d+)?$")


def walk_files(
    root: str | Path,
    endings: Collection[str],
    *,
    recursive: bool = True,
    skip: Callable[[Path], bool] = lambda _folder: False,
    unreadable: Callable[[OSError], None] | None = None,
) -> list[Path]:
    """The regular files below `root` with one of the endings, sorted by path.

    Args:
        root: a folder.
        endings: such as ".png", in lower case; compared in any case. Empty: all files.
        recursive: also those of folders within folders.
        skip: true for a folder that is not to be searched.
        unreadable: called for a folder that may not be read; None raises its OSError.
    """
    found: list[Path] = []
    # Each folder with those that it lies in, to notice links that lead back into one of them.
    waiting: list[tuple[Path, frozenset[Identity]]] = [(Path(root), frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            files, folders = _look_into(folder, tuple(endings), unreadable)
        except OSError as error:
            _report(error, unreadable)
            continue
        found += files
        inside = above | {identity}
        waiting += [(path, inside) for path in folders if recursive and not skip(path)]
    return sorted(found)


def _look_into(
    folder: Path, endings: tuple[str, ...], unreadable: Callable[[OSError], None] | None
) -> tuple[list[Path], list[Path]]:
    """The regular files with one of the endings, and the folders, in `folder`."""
    files: list[Path] = []
    folders: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            try:
                if entry.is_dir():
                    folders.append(path)
                elif (not endings or entry.name.lower().endswith(endings)) and entry.is_file():
                    files.append(path)
            except OSError as error:  # a link to where one may not look
                if error.errno != errno.ELOOP:  # to itself: it leads nowhere, as a broken link
                    _report(error, unreadable)
    return files, folders


def _report(error: OSError, unreadable: Callable[[OSError], None] | None) -> None:
    if unreadable is None:
        raise error
    unreadable(error)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files of `walk_files` in `folder`, or in its folders, that match; none without `folder`.

    pattern: "*ENDING" or "*/*ENDING".
    """
    depth, ending = pattern.count("/"), pattern.rpartition("*")[2]
    if not folder.is_dir():
        return []
    found = walk_files(
        folder,
        (ending.lower(),),
        recursive=depth > 0,
        skip=lambda inner: len(inner.relative_to(folder).parts) > depth,
    )
    return [path for path in found if len(path.relative_to(folder).parts) == depth + 1]


def named_files(folder: Path, ending: str, *, above: int = 0) -> dict[str, Path]:
    """The files that end in `ending`, by their names without it.

    InputError if two files have one name, such as a.png and a.PNG.

    Args:
        folder: to look in; it need not be there.
        ending: with what stands before the dot, such as "_labelIds.png".
        above: 0 for the files of `folder` itself, 1 for those of its folders, whose names are
            "FOLDER/NAME".
    """
    found = find_files(folder, f"{'*/' * above}*{ending}")
    return _by_name((path.relative_to(folder).as_posix()[: -len(ending)], path) for path in found)


def keyed_files(root: str | Path, *endings: str) -> dict[str, Path]:
    """The files of `walk_files` by their names.

    InputError if two files have one name, such as a.png and a.PNG.
    """
    found = walk_files(root, endings)
    return _by_name((path.relative_to(root).with_suffix("").as_posix(), path) for path in found)


def _by_name(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """{name in its composed form: path}; InputError if two files have one name."""
    named: dict[str, Path] = {}
    for spelled, path in files:
        name = composed(spelled)
        if name in named:
            raise InputError(f"both {named[name]} and {path} are {name}; remove or rename one")
        named[name] = path
    return named


def composed(name: str) -> str:
    """A name in Unicode's composed form; bytes that are no UTF-8 stay as they are."""
    return unicodedata.normalize("NFC", name)


def match_names(wanted: Sequence[str], available: Iterable[str]) -> dict[str, str]:
    """Find the available name of each wanted name; wanted names that nothing matches are left out.

    Names match if they are equal, or else equal without folders, or else also without the ENDINGS.
    No name is used twice.

    Raises:
        InputError: Two available names could be meant by one wanted name, or two wanted names
            could mean one available name.
    """
    matches: dict[str, str] = {}
    left_wanted, left_available = list(wanted), list(available)
    for form in (composed, base_name, _bare):
        by_form: dict[str, tuple[list[str], list[str]]] = {}
        for side, names in enumerate((left_wanted, left_available)):
            for name in names:
                by_form.setdefault(form(name), ([], []))[side].append(name)
        for ours, theirs in by_form.values():
            if ours and theirs:
                _require_one_to_one(ours, theirs)
                matches[ours[0]] = theirs[0]
        used = set(matches.values())
        left_wanted = [name for name in left_wanted if name not in matches]
        left_available = [name for name in left_available if name not in used]
    return {name: matches[name] for name in wanted if name in matches}


def _require_one_to_one(wanted: list[str], available: list[str]) -> None:
    if len(available) > 1:
        raise InputError(
            f"both {available[0]} and {available[1]} could be the file of {wanted[0]}; remove one, "
            "or give the folders the same names"
        )
    if len(wanted) > 1:
        raise InputError(
            f"{available[0]} could be the file of {wanted[0]} and of {wanted[1]}; put it into the "
            "folder of the one that it belongs to"
        )


def require_own_targets(pairs: Iterable[tuple[object, str | Path]]) -> None:
    """InputError if two sources would be written to one file. pairs: (source, target)."""
    first: dict[str, object] = {}
    for source, target in pairs:
        name = composed(str(target))
        if name in first:
            raise InputError(
                f"{first[name]} and {source} would both be written as {target}; rename one, or "
                "give them two output folders"
            )
        first[name] = source


def require_unique(names: Iterable[str], where: str) -> None:
    """InputError if a name occurs twice. where: what has the names, for the message."""
    times = Counter(map(composed, names))
    if twice := [name for name, count in times.items() if count > 1]:
        raise InputError(
            f"{where}: {len(twice)} names occur twice, such as {first_few(twice)}; "
            "each image needs a name of its own"
        )


def base_name(name: str) -> str:
    """A name without its folders."""
    return composed(name).rsplit("/", 1)[-1]


def _bare(name: str) -> str:
    """A name without its folders and its ending."""
    return ENDINGS.sub("", base_name(name))


def require_utf8(names: Iterable[str | Path], what: str) -> None:
    """InputError if a name is no UTF-8: no list could hold it."""
    strange = [name for name in map(str, names) if any("\ud800" <= c <= "\udfff" for c in name)]
    if strange:
        shown = [name.encode("utf-8", "backslashreplace").decode() for name in strange]
        raise InputError(
            f"{len(strange)} names of {what} are no UTF-8, such as {first_few(shown)}; rename them"
        )


def require_listable(names: Iterable[str | Path], what: str) -> None:
    """InputError if a name is no UTF-8 or has a space: lists hold names separated by spaces."""
    names = [str(name) for name in names]
    require_utf8(names, what)
    if spaced := names_with_spaces(names):
        raise InputError(
            f"{len(spaced)} names of {what} have spaces, such as {first_few(map(repr, spaced))}; "
            "lists separate names by spaces, so rename them"
        )


def names_with_spaces(names: Iterable[str]) -> list[str]:
    """The names that a list, which separates names by spaces, cannot hold."""
    return [name for name in names if name.split() != [name]]
