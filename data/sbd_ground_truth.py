"""SBD's ground-truth files, and the edge labels that the published scripts make of them.

`cls/NAME.mat` holds GTcls: Segmentation (class of each pixel from 1, 0 = none) and Boundaries
(per class). `inst/NAME.mat` holds GTinst: Segmentation (instance of each pixel from 1, 0 = none),
Categories (class of each instance) and Boundaries (per instance). The Boundaries were drawn by
the annotators and are one pixel wide.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from data.edges import label_to_edges, resize_nearest, thin_classes
from data.errors import InputError, one_line
from data.files import require_file
from data.image_io import IGNORE

NUM_CLASSES = 20
MAX_INSTANCES = 65535  # in an image


@dataclass(frozen=True)
class SBDGroundTruth:
    """Both files of one image. All maps are (H, W).

    label: uint8, class of each pixel from 0 by GTcls, 255 = none.
    instance_class: uint8, class of each pixel by the category of its instance, 255 = none.
    instance: int32, 0 = none.
    class_boundaries, instance_boundaries: uint32, the annotators' boundaries, a bit per class.
    """

    label: np.ndarray
    instance_class: np.ndarray
    instance: np.ndarray
    class_boundaries: np.ndarray
    instance_boundaries: np.ndarray

    def training_edges(
        self, scale: float = 1, *, instance_sensitive: bool = True, radius: float = 2
    ) -> np.ndarray:
        """The published training label, uint32 (ceil(H * scale), ceil(W * scale)).

        The maps are resized, then the rule of `data.edges` is applied; no id is ignored.
        """
        label, instance = self.label, None
        if instance_sensitive:
            label, instance = self.instance_class, resize_nearest(self.instance, scale)
        return label_to_edges(
            resize_nearest(label, scale),
            instance,
            num_classes=NUM_CLASSES,
            radius=radius,
            ignored_ids=(),
        )

    def evaluation_edges(self, *, thin: bool, instance_sensitive: bool = True) -> np.ndarray:
        """The published ground truth to evaluate against, uint32 (H, W).

        Thin: the annotators' boundaries. Those of all instances of a class are thinned together,
        those of the classes are left as they are. Raw: as the training label.
        """
        if not thin:
            return self.training_edges(instance_sensitive=instance_sensitive)
        if not instance_sensitive:
            return self.class_boundaries
        return thin_classes(self.instance_boundaries)


def read_sbd_ground_truth(cls_path: Path, inst_path: Path) -> SBDGroundTruth:
    """Read both files of one image.

    InputError that names the file if one cannot be read or they do not fit together.
    """
    cls = _load(cls_path, "GTcls", ("Segmentation", "Boundaries"))
    inst = _load(inst_path, "GTinst", ("Segmentation", "Boundaries", "Categories"))
    categories = as_numbers(inst["Categories"], inst_path, "Categories", 1, NUM_CLASSES).ravel()
    label = as_numbers(cls["Segmentation"], cls_path, "GTcls.Segmentation", 0, NUM_CLASSES)
    # A number above that of the Categories has its own message.
    instance = as_numbers(inst["Segmentation"], inst_path, "GTinst.Segmentation", 0, MAX_INSTANCES)
    if label.ndim != 2 or label.shape != instance.shape:
        raise InputError(
            f"{inst_path}: is {instance.shape} (H, W), but {cls_path} is {label.shape}"
        )
    if instance.max(initial=0) > categories.size or len(inst["Boundaries"]) != categories.size:
        raise InputError(
            f"{inst_path}: has {instance.max(initial=0)} instances, but {categories.size} "
            "Categories"
        )
    if len(cls["Boundaries"]) != NUM_CLASSES:
        raise InputError(
            f"{cls_path}: has Boundaries of {len(cls['Boundaries'])} classes; expected "
            f"{NUM_CLASSES}"
        )
    class_of = np.concatenate([[IGNORE], categories - 1]).astype(np.uint8)
    classes = np.arange(NUM_CLASSES)
    return SBDGroundTruth(
        label=np.where(label >= 1, label - 1, IGNORE).astype(np.uint8),
        instance_class=class_of[instance],
        instance=instance,
        class_boundaries=_union(cls["Boundaries"], classes, instance.shape, cls_path),
        instance_boundaries=_union(inst["Boundaries"], categories - 1, instance.shape, inst_path),
    )


def as_numbers(values: Any, path: Path, what: str, low: int, high: int) -> np.ndarray:
    """Values of a .mat file as int32, if they are whole numbers from `low` to `high`.

    InputError that names `path` and `what` for text, cells, NaN, fractions and numbers out of
    range.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise InputError(f"{path}: {what} is no array of numbers; download it again")
    # NaN is not equal to itself, and fails the other comparisons, too.
    valid = (values >= low) & (values <= high) & (values == np.floor(values))
    if not valid.all():
        wrong = values[~valid].ravel()[0]
        raise InputError(
            f"{path}: {what} holds {wrong}; expected whole numbers from {low} to {high}"
        )
    return values.astype(np.int32)


def _load(path: Path, name: str, fields: tuple[str, ...]) -> dict[str, Any]:
    require_file(path, "ground truth")
    try:
        structure = scipy.io.loadmat(path, variable_names=[name])[name][0, 0]
        loaded = {field: structure[field] for field in fields}
        boundaries = loaded["Boundaries"].ravel()
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # scipy raises whatever the broken part of the file leads to
        raise InputError(
            f"{path}: cannot be read as SBD's {name} ({type(error).__name__}: {one_line(error)}); "
            "download it again"
        ) from error
    return {**loaded, "Boundaries": boundaries}


def _union(
    cells: np.ndarray, classes: np.ndarray, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    """uint32 (H, W): the sparse boundaries in `cells`, each in the bit of its class."""
    bits = np.zeros(shape, np.uint32)
    for k, cell in zip(classes.tolist(), cells, strict=True):
        if not (scipy.sparse.issparse(cell) or isinstance(cell, np.ndarray)) or (
            cell.dtype.kind not in "buif"
        ):
            raise InputError(f"{path}: a boundary is no map of numbers; download it again")
        if cell.shape != shape:
            raise InputError(
                f"{path}: a boundary is {cell.shape} (H, W), but the segmentation is {shape}"
            )
        rows, columns = cell.nonzero()
        bits[rows, columns] |= np.uint32(1 << k)
    return bits
