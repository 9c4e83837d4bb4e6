"""Which file of --images an annotation means.

Tools write names as they had them: absolute paths of another machine, with backslashes, as URLs,
with "%20" for a space, or in Unicode's decomposed form. A name is matched by its whole path, or
else it means the image of the same base name with which it has the most folders in common, counted
from the end.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from data.errors import InputError
from data.files import resolved
from data.names import IMAGE_ENDINGS, composed, require_utf8, walk_files

DRIVE = re.compile(r"^[A-Za-z]:/")
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
# Kinds of images that have to be converted before they are read here, and often are beforehand.
OTHER_ENDINGS = (".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".heic", ".heif", ".jfif", ".jpe",
                 ".nef", ".raw", ".tga")  # fmt: skip


class FoundImage(NamedTuple):
    """name: path below --images without the ending, in Unicode's composed form. path: the file."""

    name: str
    path: Path


class ImageIndex:
    """The images below a folder, by every end of their paths."""

    def __init__(self, folder: Path, *, skip: Path | None = None, required: bool = True) -> None:
        """Look for images. FileNotFoundError without the folder.

        Args:
            folder: of --images.
            skip: a folder below it that is not searched, such as that of --out.
            required: FileNotFoundError also if there is no image in it.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"--images {folder}: no such folder")
        left_out = resolved(skip) if skip else None
        self.folder = folder
        self.files = walk_files(
            folder, IMAGE_ENDINGS, skip=lambda inner: resolved(inner) == left_out
        )
        if required and not self.files:
            raise FileNotFoundError(f"--images {folder}: no images below it")
        require_utf8(self.files, "images")
        # By the base name without its ending: few files to compare with each name.
        self._by_stem: dict[str, list[PurePosixPath]] = {}
        for path in self.files:
            inner = PurePosixPath(composed(path.relative_to(folder).as_posix()))
            self._by_stem.setdefault(inner.stem, []).append(inner)
        self._paths = {composed(path.relative_to(folder).as_posix()): path for path in self.files}

    def find(self, written: str) -> FoundImage | None:
        """The image that an annotation's name means; None if there is none.

        A name without the ending, or with that of another kind of image, is matched without it if
        no image has it: "photo.v2" means photo.v2.jpg, and never photo.jpg. InputError that names
        both if two images fit equally well.
        """
        for form in _forms(written):
            if found := self._find(form):
                return found
        return None

    def found(self, path: Path) -> FoundImage:
        """One of `files`, with its name."""
        inner = PurePosixPath(composed(path.relative_to(self.folder).as_posix()))
        return FoundImage(inner.with_suffix("").as_posix(), path)

    def _find(self, form: str) -> FoundImage | None:
        if form in self._paths:
            return self.found(self._paths[form])
        wanted = PurePosixPath(form)
        is_ending = wanted.suffix.lower() in (*IMAGE_ENDINGS, *OTHER_ENDINGS)
        same_stem = self._by_stem.get(wanted.stem, []) if is_ending else []
        same_name = [inner for inner in same_stem if inner.name == wanted.name]
        candidates = same_name or self._by_stem.get(wanted.name, []) or same_stem
        if not candidates:
            return None
        shared = [_shared_end(wanted, inner) for inner in candidates]
        best = [c for c, length in zip(candidates, shared, strict=True) if length == max(shared)]
        if len(best) > 1:
            raise InputError(
                f"{form}: both {self.folder / best[0]} and {self.folder / best[1]} could be this "
                "image; remove one, or give an --images folder that has one of them"
            )
        return self.found(self._paths[best[0].as_posix()])


def split_address(text: str) -> SplitResult:
    """The parts of an address, as `urlsplit`; of one that is none (http://[) all is its path."""
    try:
        return urlsplit(text)
    except ValueError:
        return SplitResult("", "", text, "", "")


def _forms(written: str) -> Iterator[str]:
    """The paths that a written name may mean, the plainest first."""
    plain = composed(written.strip())
    yield plain
    path = DRIVE.sub("", plain.replace("\\", "/"))
    if SCHEME.match(path):
        path = split_address(path).path
    path = "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
    if not path:
        return
    yield path
    if (decoded := composed(unquote(path))) != path:
        yield decoded


def _shared_end(first: PurePosixPath, second: PurePosixPath) -> int:
    """How many folders, from the end, two paths have in common."""
    count = 0
    for ours, theirs in zip(first.parts[-2::-1], second.parts[-2::-1], strict=False):
        if ours != theirs:
            break
        count += 1
    return count
