"""`dataset.json`: what a folder of anybody's own data holds. Read by `data.folder`.

    {
      "classes": [
        {"name": "road", "color": [128, 64, 128], "ids": [1]},
        {"name": "car", "color": [0, 0, 142], "ids": [2, 3]}
      ],
      "background": {"name": "background", "color": [0, 0, 0], "ids": [0]},
      "none_ids": [9],
      "ignored_ids": [255],
      "labels": "ids",
      "upright": false,
      "splits": {"train": 0.7, "val": 0.15, "test": 0.15},
      "seed": 0,
      "split_by": "name"
    }

Only `classes` is required. Without "ids" a class's id is its position in the list; without
"color" it gets one. "background" is a class of segmentation alone: to edges it is none. "none_ids"
are no class; the edge between a class and none counts. "ignored_ids" are no class either, and
their border is no edge. With "labels": "colors", label maps are RGB, and "colors", "none_colors",
"ignored_colors" take the place of the ids: lists of [red, green, blue]; a class without "colors"
has its "color".

"splits": shares, of which a hash of the seed and the image's name picks one, so that an image
keeps its split when others are added; or folders below images/ ("train": "train" or ["a", "b"],
"." for all images); or lists, "train": "train.txt", with an image's name a line. "split_by":
"folder" keeps the images of one folder in one split (frames of one video).
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import inner_path, read_json, write_aside
from data.visualize import contrasting_colors

NAME = "dataset.json"
IMPORTS = "import.json"  # which an importer writes first, and dataset.json last
MAX_ID = 65535  # of a 16-bit map
MAX_CLASSES = 254  # label maps in memory are uint8, and 255 is no class; one is the background
MAX_NAME = 100  # characters
MAX_SEED = 2**32 - 1
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DERIVED = ("trainval", "all")  # splits that every folder has
IGNORED_PIXEL = 256  # beside the train ids 0..253, and 255, which is none
DEFAULT_SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}
FIELDS = {
    "classes", "background", "none_ids", "none_colors", "ignored_ids", "ignored_colors", "labels",
    "upright", "splits", "seed", "split_by",
}  # fmt: skip

Color = tuple[int, int, int]
SplitRule = float | str | tuple[str, ...]  # a share, a list's file, folders


@dataclass(frozen=True)
class LabelClass:
    """One class. values: its ids, or its colours as red << 16 | green << 8 | blue."""

    name: str
    color: Color
    values: tuple[int, ...]


@dataclass(frozen=True)
class DatasetFile:
    """What `dataset.json` says; its words are explained at the top of this module.

    Args:
        classes: of both tasks, in the order of the train ids.
        colored: label maps are RGB, and all values are colours.
        background: a class of segmentation alone, whose train id follows the others.
        none: values that are no class.
        ignored: values that are no class, and whose border is no edge.
        upright: images are turned as their EXIF data say, since labels are drawn on those.
        splits: name -> share, file of a list (ending in .txt), or folders below images/.
        seed: of the shares.
        by_folder: images of one folder are in one split.
    """

    classes: tuple[LabelClass, ...]
    colored: bool = False
    background: LabelClass | None = None
    none: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    upright: bool = False
    splits: Mapping[str, SplitRule] = field(default_factory=lambda: dict(DEFAULT_SPLITS))
    seed: int = 0
    by_folder: bool = False

    def task_classes(self, task: str | None) -> tuple[LabelClass, ...]:
        """The classes of a task: with the background, if there is one, for "seg"."""
        return (
            (*self.classes, self.background) if task == "seg" and self.background else self.classes
        )

    def known(self) -> set[int]:
        """All values that the file names."""
        named = [value for c in self.task_classes("seg") for value in c.values]
        return {*named, *self.none, *self.ignored}


def pack_color(color: Iterable[int]) -> int:
    """(red, green, blue) -> red << 16 | green << 8 | blue."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def unpack_color(value: int) -> Color:
    """The inverse of `pack_color`."""
    return value >> 16, value >> 8 & 255, value & 255


def value_name(value: int, *, colored: bool) -> str:
    """A value of a label map for messages: "id 7", or "[255, 0, 0]"."""
    return str(list(unpack_color(value))) if colored else f"id {value}"


def read_dataset_file(root: str | Path) -> DatasetFile:
    """Read ROOT/dataset.json.

    Raises:
        FileNotFoundError: There is none; the message has the command that writes it.
        InputError: The file says something that cannot be; it names the entry.
    """
    root = Path(root)
    path = root / NAME
    if not path.is_file():
        labels = root / "labels"
        if not root.is_dir():
            what = "is a file; expected a folder" if root.exists() else "no such folder"
            raise FileNotFoundError(f"{root}: {what} with {NAME}, images/ and labels/")
        if (root / IMPORTS).is_file():
            raise FileNotFoundError(
                f"no {NAME} in {root}: an import into it has not ended; run the same command again"
            )
        raise FileNotFoundError(
            f"no {NAME} in {root}; write it with: python -m data.importer ids {labels} --images "
            f"{root / 'images'} --out {root} (colors --palette FILE in place of ids, if label maps "
            "are coloured)"
        )
    return parse_dataset_file(read_json(path, NAME), str(path))


def write_dataset_file(root: str | Path, content: DatasetFile) -> None:
    """Write ROOT/dataset.json, completely or not at all."""
    with write_aside(Path(root) / NAME) as aside:
        aside.write_text(format_dataset_file(content), encoding="utf-8")


def format_dataset_file(content: DatasetFile) -> str:
    """The text of a file that says `content`: a line for each class and each entry."""
    values = "colors" if content.colored else "ids"

    def plain(found: Iterable[int]) -> list[Any]:
        return [list(unpack_color(v)) if content.colored else v for v in found]

    def of(entry: LabelClass) -> dict[str, Any]:
        return {"name": entry.name, "color": list(entry.color), values: plain(entry.values)}

    rest: dict[str, Any] = {
        "background": of(content.background) if content.background else None,
        f"none_{values}": plain(content.none),
        f"ignored_{values}": plain(content.ignored),
        "labels": values,
        "upright": content.upright,
        "splits": {name: list(rule) if isinstance(rule, tuple) else rule
                   for name, rule in content.splits.items()},
        "seed": content.seed,
        "split_by": "folder" if content.by_folder else "name",
    }  # fmt: skip
    rows = ",\n".join(f"    {_json(of(entry))}" for entry in content.classes)
    lines = [f'  "classes": [\n{rows}\n  ]']
    lines += [f"  {_json(key)}: {_json(value)}" for key, value in rest.items() if value is not None]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def parse_dataset_file(entries: Any, where: str) -> DatasetFile:
    """What the JSON of a `dataset.json` says; InputError if it is wrong, with `where` in front."""
    if not isinstance(entries, dict):
        raise InputError(f'{where}: expected an object like {{"classes": [{{"name": "road"}}]}}')
    if unknown := sorted(entries.keys() - FIELDS):
        raise InputError(
            f"{where}: {unknown[0][:40]!r} is unknown; expected {', '.join(sorted(FIELDS))}"
        )
    colored = _one_of(entries, "labels", ("ids", "colors"), where) == "colors"
    values = "colors" if colored else "ids"
    for other in ("ids", "colors"):
        for key in (f"none_{other}", f"ignored_{other}"):
            if other != values and key in entries:
                raise InputError(f'{where}: "{key}" needs "labels": "{other}"')
    classes = _classes(entries.get("classes"), colored, where)
    background = None
    if entries.get("background") is not None:
        background = _label_class(
            entries["background"], 0, (0, 0, 0), colored, f'{where}: "background"'
        )
    content = DatasetFile(
        classes,
        colored,
        background,
        none=_values(entries.get(f"none_{values}", []), colored, f"{where}: none_{values}"),
        ignored=_values(
            entries.get(f"ignored_{values}", []), colored, f"{where}: ignored_{values}"
        ),
        upright=_boolean(entries, "upright", where),
        splits=_splits(entries.get("splits", DEFAULT_SPLITS), f'{where}: "splits"'),
        seed=_seed(entries.get("seed", 0), where),
        by_folder=_one_of(entries, "split_by", ("name", "folder"), where) == "folder",
    )
    _require_distinct(content, where)
    return content


def _classes(rows: Any, colored: bool, where: str) -> tuple[LabelClass, ...]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_CLASSES:
        found = f"{len(rows)} classes" if isinstance(rows, list) else "no list"
        raise InputError(f'{where}: "classes" has {found}; expected a list of 1 to {MAX_CLASSES}')
    colors: list[Color] = [(r, g, b) for r, g, b in contrasting_colors(len(rows)).tolist()]
    return tuple(
        _label_class(row, number, colors[number], colored, f"{where}: class {number + 1}")
        for number, row in enumerate(rows)
    )


def _label_class(row: Any, number: int, color: Color, colored: bool, where: str) -> LabelClass:
    fields = row if isinstance(row, dict) else {}
    key, other = ("colors", "ids") if colored else ("ids", "colors")
    if unknown := sorted(fields.keys() - {"name", "color", key}):
        hint = f' ("labels" says {key})' if unknown[0] == other else ""
        raise InputError(
            f'{where}: {unknown[0][:40]!r} is unknown here{hint}; expected "name", "color", "{key}"'
        )
    name = _name(fields.get("name"), where)
    if "color" in fields:
        color = parse_color(fields["color"], where)
    elif colored and "colors" not in fields:
        raise InputError(f'{where}, {name}: expected a "color", as label maps are in colours')
    default = [list(color)] if colored else [number]
    values = _values(fields.get(key, default), colored, f"{where}, {name}: {key}")
    if not values:
        raise InputError(f"{where}, {name}: has no {key}, so it could never occur")
    return LabelClass(name, color, values)


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InputError(f'{where}: expected a "name", found {str(name)[:40]!r}')
    name = unicodedata.normalize("NFC", name.strip())
    if len(name) > MAX_NAME:
        raise InputError(
            f"{where}: its name has {len(name)} characters, expected at most {MAX_NAME}: "
            f"{name[:20]!r}…"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InputError(f"{where}: its name has control characters: {name!r}; rename it")
    return name


def parse_color(color: Any, where: str) -> Color:
    """(red, green, blue) of JSON; InputError, with `where` in front, for anything else."""
    if (
        isinstance(color, list)
        and len(color) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in color)
    ):
        return color[0], color[1], color[2]
    raise InputError(
        f"{where}: {str(color)[:40]} is no colour; expected [red, green, blue], each 0 to 255"
    )


def _values(found: Any, colored: bool, where: str) -> tuple[int, ...]:
    """Ids, or packed colours, from a list of them."""
    if not isinstance(found, list):
        raise InputError(f"{where}: is {str(found)[:40]}; expected a list")
    if colored:
        return tuple(pack_color(parse_color(color, where)) for color in found)
    for value in found:
        if type(value) is not int or not 0 <= value <= MAX_ID:
            raise InputError(
                f"{where}: {str(value)[:40]!r} is no id; expected whole numbers, 0 to {MAX_ID}"
            )
    return tuple(found)


def _one_of(entries: dict[str, Any], key: str, values: tuple[str, str], where: str) -> str:
    found = entries.get(key, values[0])
    if found not in values:
        raise InputError(
            f'{where}: "{key}" is {str(found)[:40]!r}; expected "{values[0]}" or "{values[1]}"'
        )
    return found


def _boolean(entries: dict[str, Any], key: str, where: str) -> bool:
    found = entries.get(key, False)
    if not isinstance(found, bool):
        raise InputError(f'{where}: "{key}" is {str(found)[:40]!r}; expected true or false')
    return found


def _seed(seed: Any, where: str) -> int:
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise InputError(
            f'{where}: "seed" is {str(seed)[:40]!r}; expected a whole number, 0 to {MAX_SEED}'
        )
    return seed


def _splits(found: Any, where: str) -> dict[str, SplitRule]:
    if not isinstance(found, dict) or not found:
        raise InputError(f'{where}: expected an object like {{"train": 0.8, "val": 0.2}}')
    rules = {name: _split_rule(rule, f"{where}: {name[:40]!r}") for name, rule in found.items()}
    for name in rules:
        if not SPLIT_NAME.fullmatch(name) or name in DERIVED:
            raise InputError(
                f"{where}: {name[:40]!r} cannot be the name of a split; expected letters, digits, "
                f"- and _, and neither of {', '.join(DERIVED)}, which are there always"
            )
    shares = [isinstance(rule, float) for rule in rules.values()]
    if any(shares) and not all(shares):
        raise InputError(f"{where}: expected either shares for all splits, or for none")
    return rules


def _split_rule(rule: Any, where: str) -> SplitRule:
    if type(rule) in (int, float):
        if not 0 < rule <= MAX_ID:
            raise InputError(f"{where}: the share is {rule}; expected a number above 0")
        return float(rule)
    folders = rule if isinstance(rule, list) else [rule]
    if not folders or not all(isinstance(name, str) and name for name in folders):
        raise InputError(
            f"{where}: is {str(rule)[:40]}; expected a share, a folder below images/, folders, or "
            "the file of a list (.txt)"
        )
    try:
        paths = [name if name == "." else inner_path(name).as_posix() for name in folders]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    return paths[0] if isinstance(rule, str) and rule.endswith(".txt") else tuple(paths)


def _require_distinct(content: DatasetFile, where: str) -> None:
    """InputError if a name, or a value, has two meanings."""
    classes = content.task_classes("seg")
    names = Counter(entry.name for entry in classes)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"{where}: two classes are called {twice[0]!r}; their ids can be one list")
    meanings: dict[int, str] = {}
    listed = [(entry.name, entry.values) for entry in classes]
    listed += [("none", content.none), ("ignored", content.ignored)]
    for name, values in listed:
        for value in values:
            if value in meanings:
                shown = value_name(value, colored=content.colored)
                raise InputError(f"{where}: {shown} is both {meanings[value]!r} and {name!r}")
            meanings[value] = name


def class_pairs(content: DatasetFile, task: str | None) -> tuple[tuple[int, int], ...]:
    """(value, train id) of classes, and (value, IGNORED_PIXEL); all other values are none."""
    pairs = [
        (value, k) for k, entry in enumerate(content.task_classes(task)) for value in entry.values
    ]
    pairs += [(value, IGNORED_PIXEL) for value in content.ignored]
    return tuple(sorted(pairs))
