"""Reading anybody's label maps: which id is which class, and what the classes are called."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.gtlabel.products import GroundTruth
from data.image_io import IGNORE, check_ids, read_index
from data.visualize import default_class_names

IGNORED = 2  # the region of ignored ids; all other regions have greater numbers
MAX_ID = 65535  # of a 16-bit PNG


@dataclass(frozen=True)
class MapReader:
    """Reads a label map, and an instance map if there is one.

    id_map: (id, class) pairs, or None where ids are classes.
    ignored_ids: ids that are no class, and whose border is no edge.
    """

    num_classes: int
    id_map: tuple[tuple[int, int], ...] | None
    ignored_ids: tuple[int, ...]

    def __call__(self, label_path: Path, instance_path: Path | None) -> GroundTruth:
        """Return (label uint8 (H, W), regions int32 (H, W)).

        Any two pixels with other instance numbers or other labels are in two regions.
        """
        ids = read_index(label_path)
        label = self._classes(ids, label_path)
        numbers = np.zeros(ids.shape, np.int32)
        if instance_path is not None:
            numbers = read_index(instance_path).astype(np.int32)
        if numbers.shape != ids.shape:
            raise InputError(
                f"{instance_path}: is {numbers.shape} (H, W), its label map {ids.shape}"
            )
        # A number for each pair, above 0 (no region) and IGNORED.
        regions = numbers * 256 + label + (IGNORED + 1)
        regions[np.isin(ids, self.ignored_ids)] = IGNORED
        return label, regions

    def _classes(self, ids: np.ndarray, path: Path) -> np.ndarray:
        if self.id_map is None:
            label = np.where(np.isin(ids, self.ignored_ids), ids.dtype.type(IGNORE), ids)
            return check_ids(label, self.num_classes, path)
        table = np.full(np.iinfo(ids.dtype).max + 1, IGNORE, np.uint8)
        for label_id, k in self.id_map:
            if label_id < table.size:
                table[label_id] = k
        table[[label_id for label_id in self.ignored_ids if label_id < table.size]] = IGNORE
        return table[ids]


def read_id_map(path: Path | None, num_classes: int) -> tuple[tuple[int, int], ...] | None:
    """The (id, class) pairs of a JSON file {"id": class}; None without a file."""
    if path is None:
        return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8")).items()
        pairs = sorted((int(label_id), int(k)) for label_id, k in entries)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f'{path}: cannot be read as JSON like {{"7": 0, "8": 1}} ({error})'
        ) from error
    for label_id, k in pairs:
        if not 0 <= label_id <= MAX_ID or not (0 <= k < num_classes or k == IGNORE):
            raise InputError(
                f"{path}: maps id {label_id} to class {k}; expected ids 0..{MAX_ID}, "
                f"classes 0..{num_classes - 1} or {IGNORE}"
            )
    return tuple(pairs)


def read_class_names(path: Path | None, num_classes: int) -> tuple[str, ...]:
    """The names in a file, one a line; without a file those of `default_class_names`."""
    if path is None:
        return default_class_names(num_classes)
    lines = path.read_text(encoding="utf-8").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != num_classes:
        raise InputError(f"{path}: has {len(names)} names; expected {num_classes}")
    return names
