"""SBD's ground-truth files, and the edge labels that the published scripts make of them.

`cls/NAME.mat` holds GTcls: Segmentation (class of each pixel from 1, 0 = none) and Boundaries
(per class). `inst/NAME.mat` holds GTinst: Segmentation (instance of each pixel from 1, 0 = none),
Categories (class of each instance) and Boundaries (per instance). The Boundaries were drawn by
the annotators and are one pixel wide.
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
    segmentation = cls["Segmentation"]
    instance = inst["Segmentation"].astype(np.int32)
    categories = inst["Categories"].ravel().astype(np.int64)
    if segmentation.shape != instance.shape:
        raise InputError(
            f"{inst_path}: is {instance.shape} (H, W), but {cls_path} is {segmentation.shape}"
        )
    if instance.max(initial=0) > categories.size or len(inst["Boundaries"]) != categories.size:
        raise InputError(
            f"{inst_path}: has {instance.max(initial=0)} instances, but {categories.size} "
            "Categories"
        )
    if categories.size and not 1 <= categories.min() <= categories.max() <= NUM_CLASSES:
        raise InputError(
            f"{inst_path}: Categories are {categories.min()} to {categories.max()}; "
            f"expected 1 to {NUM_CLASSES}"
        )
    class_of = np.concatenate([[IGNORE], categories - 1]).astype(np.uint8)
    has_class = (segmentation >= 1) & (segmentation <= NUM_CLASSES)
    classes = np.arange(len(cls["Boundaries"]))
    return SBDGroundTruth(
        label=np.where(has_class, segmentation - 1, IGNORE).astype(np.uint8),
        instance_class=class_of[instance],
        instance=instance,
        class_boundaries=_union(cls["Boundaries"], classes, instance.shape, cls_path),
        instance_boundaries=_union(inst["Boundaries"], categories - 1, instance.shape, inst_path),
    )


def _load(path: Path, name: str, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        structure = scipy.io.loadmat(path)[name][0, 0]
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
    cells: np.ndarray, classes: np.ndarray, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    """uint32 (H, W): the sparse boundaries in `cells`, each in the bit of its class."""
    bits = np.zeros(shape, np.uint32)
    for k, cell in zip(classes.tolist(), cells, strict=True):
        if cell.shape != shape:
            raise InputError(
                f"{path}: a boundary is {cell.shape} (H, W), but the segmentation is {shape}"
            )
        rows, columns = cell.nonzero()
        bits[rows, columns] |= np.uint32(1 << k)
    return bits
