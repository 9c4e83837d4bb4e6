"""BDD100K, semantic segmentation (Yu et al., CVPR 2020): 10000 frames of dashboard cameras, Cityscapes' 19 classes.

Layouts, at the root or in a folder bdd100k/ below it (into which the zip files unpack):

    images/10k/{train,val,test}/NAME.jpg    labels/sem_seg/masks/{train,val}/NAME.png       since 2020
    seg/images/{train,val,test}/NAME.jpg    seg/labels/{train,val}/NAME_train_id.png        of 2018
    images/{train,val,test}/NAME.jpg        labels/{train,val}/NAME_train_id.png            the same, from within seg/

RGB image of 1280x720, and an 8-bit map of train ids 0..18, 255 = void. There are no instances.
"""

from pathlib import Path

from data.base import Dataset, Record
from data.cityscapes import Cityscapes
from data.errors import InputError
from data.files import find_names

# Folder of the images, folder of the labels, what stands between an image's name and ".png" in its label's.
LAYOUTS = (
    ("images/10k", "labels/sem_seg/masks", ""),
    ("seg/images", "seg/labels", "_train_id"),
    ("images", "labels", "_train_id"),
)
SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}


class BDD(Dataset):
    """7000 train, 1000 val and 2000 test images; those of test have no labels. images=False: labels alone."""

    name = "bdd"
    classes = Cityscapes.classes
    palette = Cityscapes.palette

    def __init__(self, root: str | Path, split: str, *, images: bool = True) -> None:
        if split not in SPLITS:
            raise InputError(f"bdd has no split {split!r}; expected one of {', '.join(SPLITS)}")
        root, layout = _find_layout(Path(root))
        parts = [_find_records(root, part, layout, images) for part in SPLITS[split]]
        super().__init__(root, split, [record for part in parts for record in part])


def _find_layout(root: Path) -> tuple[Path, tuple[str, str, str]]:
    for folder in (root, root / "bdd100k"):
        for layout in LAYOUTS:
            if (folder / layout[0]).is_dir() or (folder / layout[1]).is_dir():
                return folder, layout
    raise FileNotFoundError(
        f"Neither images/10k/ nor seg/ in {root} or {root / 'bdd100k'}. Unzip bdd100k_images_10k.zip and "
        f"bdd100k_sem_seg_labels_trainval.zip into {root}, or point the data root at the folder that has images/ and labels/."
    )


def _find_records(
    root: Path, part: str, layout: tuple[str, str, str], images: bool
) -> list[Record]:
    """The samples of a part by name. That both files of each are there is checked by `Dataset`."""
    images_at, labels_at, suffix = root / layout[0] / part, root / layout[1] / part, layout[2]
    image_names = find_names(images_at, ".jpg") if images else set()
    labels = find_names(labels_at, f"{suffix}.png")
    if images and not image_names:
        raise FileNotFoundError(
            f"No *.jpg in {images_at}. Unzip bdd100k_images_10k.zip into {root.parent}."
        )
    if part == "test":
        return [Record(name, images_at / f"{name}.jpg") for name in sorted(image_names)]
    if not labels:
        raise FileNotFoundError(
            f"No *{suffix}.png in {labels_at}. Unzip bdd100k_sem_seg_labels_trainval.zip into {root.parent}."
        )
    return [
        Record(
            name, images_at / f"{name}.jpg" if images else None, labels_at / f"{name}{suffix}.png"
        )
        for name in sorted(image_names | labels)
    ]
