"""What COCO's two kinds of JSON files share: images, categories, and rows that belong to images."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import read_text
from data.importer.annotations import FoundClass

Row = dict[str, Any]


@dataclass(frozen=True)
class CocoImage:
    """size: (H, W), None where the file does not say it."""

    id: int | str
    file_name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Category:
    """thing: it has instances (panoptic files say so)."""

    name: str
    color: tuple[int, int, int] | None
    thing: bool


@dataclass(frozen=True)
class CocoFile:
    """A file. images, categories: by their ids. annotations: in the file's order."""

    path: Path
    images: dict[int | str, CocoImage]
    categories: dict[int, Category]
    annotations: list[Row]

    @property
    def labels(self) -> list[FoundClass]:
        """All categories as labels, in the file's order."""
        return [FoundClass(entry.name, entry.color) for entry in self.categories.values()]


def read_coco(path: Path) -> CocoFile:
    """Read a file's parts; InputError for what is no COCO file, and for ids that occur twice."""
    content = load(path)
    parts: dict[str, list[Any]] = {}
    for key in ("images", "categories", "annotations"):
        found = content.get(key) if isinstance(content, dict) else None
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise InputError(
                f'{path}: has no list of objects "{key}"; expected a COCO file, with images, '
                "categories and annotations"
            )
        parts[key] = found
    images = dict(_images(path, parts["images"]))
    categories = dict(_categories(path, parts["categories"]))
    if not images or not categories:
        raise InputError(f"{path}: has no {'categories' if images else 'images'}")
    return CocoFile(path, images, categories, parts["annotations"])


def load(path: Path) -> Any:
    """What a JSON file holds, by Python's own reader, which is fast: files have up to 500 MB.

    Numbers that are no numbers of JSON (NaN) are found where they are used, with the annotation.
    """
    text = read_text(path, "JSON file")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: is no JSON ({reason})") from error


def _images(path: Path, rows: Sequence[Row]) -> Iterator[tuple[int | str, CocoImage]]:
    seen: set[int | str] = set()
    for number, row in enumerate(rows, start=1):
        # LVIS has only the addresses of its images, which end in their names.
        key, name = row.get("id"), row.get("file_name", row.get("coco_url"))
        if not isinstance(key, int | str) or not isinstance(name, str) or not name.strip():
            raise InputError(f'{path}: image {number} of the list has no "id" or no "file_name"')
        if key in seen:
            raise InputError(f"{path}: two images have the id {key}; expected one")
        seen.add(key)
        sides = row.get("height"), row.get("width")
        size = None
        if any(side is not None for side in sides):
            if not all(_is_side(side) for side in sides):
                raise InputError(
                    f"{path}: image {key} ({name[:80]}) has the height and width {sides}; "
                    "expected whole numbers of pixels"
                )
            size = (int(row["height"]), int(row["width"]))
        yield key, CocoImage(key, name, size)


def _is_side(side: Any) -> bool:
    return type(side) in (int, float) and side >= 1 and side == side // 1


def _categories(path: Path, rows: Sequence[Row]) -> Iterator[tuple[int, Category]]:
    seen: set[int] = set()
    for number, row in enumerate(rows, start=1):
        key, name = row.get("id"), row.get("name")
        if type(key) is not int or not isinstance(name, str) or not name.strip():
            raise InputError(
                f'{path}: category {number} of the list has the "id" {str(key)[:40]!r} and the '
                f'"name" {str(name)[:40]!r}; expected a whole number and a name'
            )
        if key in seen:
            raise InputError(f"{path}: two categories have the id {key}; expected one")
        seen.add(key)
        yield key, Category(name, _color(row.get("color")), bool(row.get("isthing", 1)))


def _color(found: Any) -> tuple[int, int, int] | None:
    """The colour that panoptic files give a category; None without one."""
    if (
        isinstance(found, list)
        and len(found) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in found)
    ):
        return found[0], found[1], found[2]
    return None
