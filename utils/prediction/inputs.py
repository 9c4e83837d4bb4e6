"""What a user names on the command line, before folders are searched: patterns, lists, cameras.

    photo.jpg  photos/            a file, a folder
    'photos/**/*.jpg'             a pattern that the shell did not expand
    -                             a list on standard input
    camera:0                      a camera

A name that exists is that file or folder, whatever characters it has.
"""

import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from data.errors import InputError
from data.files import OTHER_ENCODINGS, first_few, resolved
from data.names import IMAGE_ENDINGS, VIDEO_ENDINGS, walk_files

ENDINGS = (*IMAGE_ENDINGS, *VIDEO_ENDINGS)
STDIN = Path("-")
CAMERA = re.compile(r"camera:(\d{1,4})")
# ROOT/sequences/07 and ROOT/sequences/07/image_2 of KITTI odometry.
KITTI_SEQUENCE = re.compile(r"/sequences/(\d+(?:/image_\d)?)\Z")


@dataclass(frozen=True)
class Given:
    """A file, a folder or a camera.

    Args:
        path: of it.
        below: where its results go below the output folder; None: as the rule for files and
            folders on the command line says.
    """

    path: Path
    below: Path | None = None


def is_video(path: Path) -> bool:
    """Whether an input is a video or a camera, by its name."""
    return path.name.lower().endswith(VIDEO_ENDINGS) or camera_number(path) is not None


def camera_number(path: Path) -> int | None:
    """N of `camera:N`; None for all else, and for a file of that name."""
    found = CAMERA.fullmatch(str(path))
    return int(found[1]) if found and not os.path.lexists(path) else None


def expand(word: Path, out: Path) -> list[Given]:
    """What a word of the command line stands for; InputError for a pattern that matches nothing.

    out: the output folder; no pattern matches what lies in it.
    """
    if os.path.lexists(word):
        return [Given(word, kitti_sequence(word))]
    if str(word).startswith("camera:") and camera_number(word) is None:
        raise InputError(f"{word}: expected the number of a camera; the first is camera:0")
    if word == STDIN:
        return listed(sys.stdin.buffer.read())
    if glob.has_magic(str(word)):
        return matching(word, out)
    return [Given(word)]


def kitti_sequence(path: Path) -> Path | None:
    """07/image_2 for the folder ROOT/sequences/07/image_2, and likewise for a file in it.

    So results of all sequences lie side by side in one output folder, however they were named.
    None for other paths.
    """
    found = KITTI_SEQUENCE.search(resolved(path).as_posix())
    if found:
        return Path(found[1])
    above = KITTI_SEQUENCE.search(resolved(path.parent).as_posix())
    return Path(above[1], path.name) if above else None


def matching(pattern: Path, out: Path) -> list[Given]:
    """The images, videos and folders that match a pattern such as photos/**/*.jpg.

    Results are mirrored below the part before the first wildcard. Hidden files do not match, as in
    a shell, nor what lies in the output folder `out`; `**` stands for any number of folders.
    """
    fixed = 0
    while not glob.has_magic(pattern.parts[fixed]):
        fixed += 1
    base = Path(*pattern.parts[:fixed])
    rest = pattern.parts[fixed:]
    stars = rest.index("**") if "**" in rest else len(rest)
    found: list[Path] = []
    for head in sorted(_glob(base, rest[:stars])):
        if stars == len(rest):
            found.append(head)
        elif head.is_dir():
            # Its own search, since it notices links that lead in a circle.
            inner = walk_files(head, ENDINGS, unreadable=lambda _error: None)
            found += [p for p in inner if _matches(p.relative_to(head).parts, rest[stars:])]
    found = [p for p in found if not resolved(p).is_relative_to(resolved(out))]
    usable = [p for p in found if p.is_dir() or p.name.lower().endswith(ENDINGS)]
    if not usable:
        why = f"only {first_few(p.name for p in found)}" if found else "nothing"
        raise InputError(
            f"the pattern matches {why}; expected an image or a video ({' '.join(ENDINGS)})"
        )
    return [Given(path, _below(path, base)) for path in usable]


def _glob(base: Path, parts: Sequence[str]) -> list[Path]:
    if not parts:
        return [base]
    # Path.glob would match hidden files, too.
    return [base / name for name in glob.glob("/".join(parts), root_dir=base)]  # noqa: PTH207


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path, or a folder above it, matches a pattern; both in parts."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def listed(content: bytes) -> list[Given]:
    """The paths of a list: one a line, or separated by zero bytes, as `find -print0` writes.

    Results are mirrored below the folder that all paths have in common. InputError for a list
    without any, and for another encoding than UTF-8.
    """
    for mark, encoding in OTHER_ENCODINGS:
        if content.startswith(mark):
            raise InputError(f"the list on standard input is {encoding}; expected UTF-8")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = [line.rstrip(b"\r") for line in content.split(b"\n")]
    # As the system's own names: bytes that are no UTF-8 are kept.
    paths = [Path(os.fsdecode(name)) for name in dict.fromkeys(names) if name.strip()]
    if not paths:
        raise InputError("the list on standard input is empty; expected one path a line")
    common = Path(os.path.commonpath([_full(path).parent for path in paths]))
    return [Given(path, _below(path, common)) for path in paths]


def _full(path: Path) -> Path:
    """The absolute path without `..`; links stay, since names below them are the user's."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps `..`)


def _below(path: Path, base: Path) -> Path:
    """The path from `base` on; the name alone for one that leads out of it."""
    full, base = _full(path), _full(base)
    return full.relative_to(base) if full.is_relative_to(base) else Path(full.name)
