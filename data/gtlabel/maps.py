"""Anybody's label maps: where they are, which id is which class, what the classes are called."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import first_few, read_json, read_text
from data.gtlabel.job import StrangeIds
from data.gtlabel.jobs import Outcome, join_words, list_ids
from data.gtlabel.products import GroundTruth
from data.gtlabel.stamp import NAME as STAMP
from data.image_io import IGNORE, read_header, read_index, require_size
from data.names import walk_files
from data.visualize import default_class_names

IGNORED = 2  # the region of ignored ids; all other regions have greater numbers
MAX_ID = 65535  # of a 16-bit PNG
MAX_NAME = 100  # characters of a class name: a legend is as wide as the longest
WHOLE_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
IdMap = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class MapReader:
    """Reads a label map, and an instance map if there is one.

    id_map: (id, class) pairs, or None where ids are classes.
    ignored_ids: ids that are no class, and whose border is no edge.
    """

    num_classes: int
    id_map: IdMap | None
    ignored_ids: tuple[int, ...]

    def __call__(self, label_path: Path, instance_path: Path | None) -> GroundTruth:
        """Return (label uint8 (H, W), regions int32 (H, W), the ids of the file).

        Any two pixels with other instance numbers or other labels are in two regions.
        """
        ids = read_ids(label_path)
        present = present_ids(ids)
        label = self._classes(ids, present, label_path)
        numbers = np.zeros(ids.shape, np.int32)
        if instance_path is not None:
            # 16 bits at most, so that the numbers below fit into 32.
            numbers = read_ids(instance_path).astype(np.int32)
            require_size(numbers, ids.shape, "instance map", instance_path, label_path)
        # A number for each pair, above 0 (no region) and IGNORED.
        regions = numbers * 256 + label + (IGNORED + 1)
        regions[np.isin(ids, self.ignored_ids)] = IGNORED
        return GroundTruth(label, regions, tuple(present))

    def _classes(self, ids: np.ndarray, present: list[int], path: Path) -> np.ndarray:
        table = np.full(MAX_ID + 1, IGNORE, np.uint8)
        if self.id_map is None:
            table[: self.num_classes] = np.arange(self.num_classes)
            valid = {*range(self.num_classes), IGNORE, *self.ignored_ids}
            if strange := [number for number in present if number not in valid]:
                raise StrangeIds(
                    path,
                    strange,
                    f"expected 0..{self.num_classes - 1} or {IGNORE}; give another --num-classes, "
                    "or say with --id-map or --ignored-ids what they are",
                )
        else:
            for label_id, k in self.id_map:
                table[label_id] = k
        table[list(self.ignored_ids)] = IGNORE
        return table[ids]


def read_ids(path: Path) -> np.ndarray:
    """Read a map of ids, uint8 or uint16 (H, W); a colour image is refused with a hint."""
    header = read_header(path)
    if header.channels > 1 and not header.palette:
        raise InputError(
            f"{path}: found {header.channels} channels: a colour image; expected a map of ids with "
            "one channel, in which --id-map can then say which id is which class"
        )
    return read_index(path)


def present_ids(ids: np.ndarray) -> list[int]:
    """The ids that occur in a map, sorted."""
    return np.flatnonzero(np.bincount(ids.ravel())).tolist()


def find_label_maps(root: Path, out: Path) -> list[Path]:
    """All PNGs below `root`, in folders of any depth, but for what earlier runs left in `out`."""
    if not root.is_dir():
        raise FileNotFoundError(f"--labels {root}: no such folder")
    passed_by = []

    def is_out(folder: Path) -> bool:
        if out.is_dir() and os.path.samestat(folder.stat(), out.stat()):
            passed_by.append(folder)
        return folder in passed_by

    found = walk_files(root, (".png",), skip=is_out)
    if passed_by and not (out / STAMP).exists() and walk_files(out, (".png",)):
        raise InputError(
            f"--out {out}: holds label maps below --labels {root}; choose a folder of its own"
        )
    if not found:
        raise FileNotFoundError(f"no *.png below {root}")
    return found


def read_id_map(path: Path | None, num_classes: int) -> IdMap | None:
    """The (id, class) pairs of a JSON file {"id": class}; None without a file.

    The class null, or 255, is none.
    """
    if path is None:
        return None
    entries = read_json(path)
    if not isinstance(entries, dict) or not entries:
        raise InputError(f'{path}: is not JSON like {{"7": 0, "8": 1, "9": null}}')
    return tuple(sorted(_id_and_class(path, *entry, num_classes) for entry in entries.items()))


def _id_and_class(path: Path, label_id: str, k: Any, num_classes: int) -> tuple[int, int]:
    if not WHOLE_NUMBER.fullmatch(label_id) or int(label_id) > MAX_ID:
        raise InputError(
            f"{path}: {label_id[:20]!r} is no label id; expected a whole number, 0 to {MAX_ID}"
        )
    if k is None:
        return int(label_id), IGNORE
    # bool is a kind of int
    if type(k) is not int or not (0 <= k < num_classes or k == IGNORE):
        raise InputError(
            f"{path}: maps id {label_id} to class {str(k)[:20]}; expected a whole number, "
            f"0..{num_classes - 1}, or null (no class)"
        )
    return int(label_id), k


def read_class_names(path: Path | None, num_classes: int) -> tuple[str, ...]:
    """The names in a file, one a line; without a file those of `default_class_names`."""
    if path is None:
        return default_class_names(num_classes)
    lines = read_text(path, "file of class names").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != num_classes:
        raise InputError(f"{path}: has {len(names)} names; expected {num_classes}")
    if longest := [name for name in names if len(name) > MAX_NAME]:
        raise InputError(
            f"{path}: the name {longest[0][:20]}… has {len(longest[0])} characters; expected at "
            f"most {MAX_NAME}"
        )
    return names


def note_ids(reader: MapReader, id_map_name: str, outcome: Outcome) -> None:
    """Print which ids count as no class though nobody said so, and which classes have no pixels.

    Args:
        reader: of the maps.
        id_map_name: its file, for the message.
        outcome: with the ids of the maps that were read.
    """
    class_of = dict(reader.id_map or ((k, k) for k in range(reader.num_classes)))
    if reader.id_map is not None:
        lost = {
            number: count
            for number, count in outcome.ids.items()
            if number not in class_of and number not in reader.ignored_ids
        }
        if lost:
            verb = "is" if len(lost) == 1 else "are"
            ids = f"id{'s' * (len(lost) > 1)} {list_ids(lost)}"
            count_as = "counts" if len(lost) == 1 else "count"
            part = ""
            if outcome.read < outcome.total:
                part = f" (of the {outcome.read} read in this run, of {outcome.total})"
            print(f"note: {ids} {verb} not in {id_map_name} and {count_as} as no class{part}")
    named = {k for number, k in class_of.items() if number not in reader.ignored_ids}
    _note_classes([k for k in range(reader.num_classes) if k not in named], "has", "have", "no id")
    # Classes that occur nowhere are known only if all maps were read.
    if outcome.strange or not outcome.read or outcome.read < outcome.total:
        return
    found = {class_of.get(number) for number in outcome.ids}
    absent = [k for k in sorted(named) if k not in found and k < reader.num_classes]
    ids = first_few(sorted(outcome.ids), 12)
    hint = ""
    if reader.id_map is None and IGNORE in outcome.ids:
        hint = f"; if {IGNORE} is a class, use --id-map"
    _note_classes(absent, "occurs", "occur", f"in no map; ids found: {ids}{hint}")


def _note_classes(classes: list[int], verb: str, verbs: str, what: str) -> None:
    if classes:
        shown = join_words(classes[:8]) if len(classes) <= 8 else first_few(classes, 8)
        start = f"class {shown} {verb}" if len(classes) == 1 else f"classes {shown} {verbs}"
        print(f"note: {start} {what}")
