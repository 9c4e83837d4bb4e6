"""The images that a user names on the command line: finding them, reading them, naming outputs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data.errors import InputError
from data.files import resolved
from data.image_io import read_image

IMAGES = (
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
EXIF_ORIENTATION = 0x0112


def find_images(
    inputs: Sequence[Path], out: Path, recursive: bool
) -> tuple[dict[Path, Path], dict[Path, Exception]]:
    """({image: its path below the output folder, with its ending}, {input without an image: why}).

    Of a folder: the files with an image's ending; hidden ones, and those below `out`, are left out.
    InputError if there is no image at all.
    """
    found: dict[Path, Path] = {}
    failures: dict[Path, Exception] = {}
    seen: set[Path] = set()
    for top in inputs:
        images = _in_folder(top, out, recursive) if top.is_dir() else [top] if top.exists() else []
        if not images:
            reason = (
                f"no image in this folder ({' '.join(IMAGES)})" if top.is_dir() else "no such file"
            )
            failures[top] = InputError(reason)
        for path in images:
            if resolved(path) not in seen:
                seen.add(resolved(path))
                own = Path(resolved(top).name) if len(inputs) > 1 else Path()
                found[path] = own / path.relative_to(top) if top.is_dir() else Path(path.name)
    if not found:
        raise InputError("; ".join(f"{path}: {reason}" for path, reason in failures.items()))
    return found, failures


def _in_folder(top: Path, out: Path, recursive: bool) -> list[Path]:
    top_full, out_full = resolved(top), resolved(out)
    if top_full == out_full:
        raise InputError(f"--out {out} is the folder of the images; give another one")
    images = (
        path
        for path in (top.rglob("*") if recursive else top.glob("*"))
        if path.suffix.lower() in IMAGES
    )
    return sorted(
        path
        for path in images
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(top).parts)
        and not (out_full.is_relative_to(top_full) and resolved(path).is_relative_to(out_full))
    )


def output_names(found: dict[Path, Path]) -> dict[Path, str]:
    """The NAME of each image's outputs: its path, without the ending where that is unique.

    found: what `find_images` found. InputError if two images would get one name.
    """
    times = Counter(path.with_suffix("") for path in found.values())
    names = {
        path: str(own if times[own.with_suffix("")] > 1 else own.with_suffix(""))
        for path, own in found.items()
    }
    first: dict[str, Path] = {}
    for path, name in names.items():
        if (other := first.setdefault(name, path)) != path:
            raise InputError(
                f"{other} and {path} would both be written as {name}; "
                "predict them into two --out folders"
            )
    return names


def read_input_image(path: Path, *, upright: bool) -> np.ndarray:
    """uint8 (H, W, 3), RGB; turned as its EXIF orientation says if `upright`."""
    image = read_image(path)
    return turn_upright(image, _orientation(path)) if upright else image


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The stored image as it is to be seen. orientation: EXIF tag 0x0112, 1 (upright) to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _orientation(path: Path) -> int:
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        # Damaged EXIF data raise anything; OpenCV has read the image, so it is taken as stored.
        return 1
