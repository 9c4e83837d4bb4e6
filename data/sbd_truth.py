"""SBD's ground-truth files, and the edge labels that the published scripts make of them.

`cls/NAME.mat` holds GTcls: Segmentation (class of each pixel from 1, 0 = none) and Boundaries (per class); `inst/NAME.mat`
GTinst: Segmentation (instance of each pixel from 1, 0 = none), Categories (class of each instance) and Boundaries (per
instance). The Boundaries are the annotators' own, one pixel wide.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from data.edges import label_to_edges, resize_nearest, thin_classes
from data.errors import InputError
from data.image_io import IGNORE

NUM_CLASSES = 20


@dataclass(frozen=True)
class SBDTruth:
    """label, own_label: uint8 (H, W), class of each pixel from 0, 255 = none, by GTcls and by its instance's category.
    instance: int32 (H, W), 0 = none. class_boundaries, instance_boundaries: the annotators', uint32 (H, W), bit per class.
    """

    label: np.ndarray
    own_label: np.ndarray
    instance: np.ndarray
    class_boundaries: np.ndarray
    instance_boundaries: np.ndarray

    def training_edges(
        self, scale: float = 1, *, instance_sensitive: bool = True, radius: float = 2
    ) -> np.ndarray:
        """The published training label, uint32: the maps are resized, then the rule; nothing is ignored."""
        if instance_sensitive:
            label, instance = (
                resize_nearest(self.own_label, scale),
                resize_nearest(self.instance, scale),
            )
        else:
            label, instance = resize_nearest(self.label, scale), None
        return label_to_edges(
            label, instance, num_classes=NUM_CLASSES, radius=radius, ignored_ids=()
        )

    def evaluation_edges(self, *, thin: bool, instance_sensitive: bool = True) -> np.ndarray:
        """The published truth to evaluate against, uint32 (H, W).

        Thin: the annotators' boundaries; those of a class's instances together are thinned, those of the classes are left
        as they are. Raw: as the training label.
        """
        if not thin:
            return self.training_edges(instance_sensitive=instance_sensitive)
        return (
            thin_classes(self.instance_boundaries) if instance_sensitive else self.class_boundaries
        )


def read_sbd_truth(cls_path: Path, inst_path: Path) -> SBDTruth:
    """Both files of one image. InputError that names the file if one cannot be read or they do not fit together."""
    cls, inst = _load(cls_path, "GTcls"), _load(inst_path, "GTinst")
    segmentation, instance = cls["Segmentation"], inst["Segmentation"].astype(np.int32)
    categories = inst["Categories"].ravel().astype(np.int64)
    if segmentation.shape != instance.shape:
        raise InputError(
            f"{inst_path}: is {instance.shape} (H, W), but {cls_path} is {segmentation.shape}"
        )
    if instance.max(initial=0) > categories.size or len(inst["Boundaries"]) != categories.size:
        raise InputError(
            f"{inst_path}: has {instance.max(initial=0)} instances, but {categories.size} Categories"
        )
    if categories.size and not 1 <= categories.min() <= categories.max() <= NUM_CLASSES:
        raise InputError(
            f"{inst_path}: Categories are {categories.min()} to {categories.max()}; expected 1 to {NUM_CLASSES}"
        )
    class_of = np.concatenate([[IGNORE], categories - 1]).astype(np.uint8)
    inside = (segmentation >= 1) & (segmentation <= NUM_CLASSES)
    return SBDTruth(
        label=np.where(inside, segmentation - 1, IGNORE).astype(np.uint8),
        own_label=class_of[instance],
        instance=instance,
        class_boundaries=_union(
            cls["Boundaries"], np.arange(len(cls["Boundaries"])), instance.shape, cls_path
        ),
        instance_boundaries=_union(inst["Boundaries"], categories - 1, instance.shape, inst_path),
    )


def _load(path: Path, name: str) -> dict[str, np.ndarray]:
    try:
        structure = scipy.io.loadmat(path)[name][0, 0]
        fields = ("Segmentation", "Boundaries", *(("Categories",) if name == "GTinst" else ()))
        loaded = {field: structure[field] for field in fields}
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises whatever the broken part of the file leads to
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path}: cannot be read as SBD's {name} ({reason}); download it again"
        ) from error
    return {**loaded, "Boundaries": loaded["Boundaries"].ravel()}


def _union(
    cells: np.ndarray, classes: np.ndarray, shape: tuple[int, int], path: Path
) -> np.ndarray:
    """uint32 (H, W): the boundaries in `cells` as bits of their classes."""
    bits = np.zeros(shape, np.uint32)
    for k, cell in zip(classes.tolist(), cells, strict=True):
        if cell.shape != shape:
            raise InputError(
                f"{path}: a boundary is {cell.shape} (H, W), but the segmentation is {shape}"
            )
        rows, columns = cell.nonzero()
        bits[rows, columns] |= np.uint32(1 << k)
    return bits
