"""BDD100K, semantic segmentation (Yu et al., CVPR 2020): 10000 frames of dashboard cameras.

The classes are Cityscapes' 19. Layouts, at the root or in a folder bdd100k/ below it (into which
the zip files unpack):

    images/10k/{train,val,test}/NAME.jpg  labels/sem_seg/masks/{train,val}/NAME.png  since 2020
    seg/images/{train,val,test}/NAME.jpg  seg/labels/{train,val}/NAME_train_id.png   of 2018
    images/{train,val,test}/NAME.jpg      labels/{train,val}/NAME_train_id.png       in seg/

RGB image of 1280x720, and an 8-bit map of train ids 0..18, 255 = void. There are no instances.
"""

from pathlib import Path
from typing import NamedTuple

from data.base import Dataset, Record, require_split
from data.cityscapes import Cityscapes
from data.names import EDGE_LABEL, named_files


class Layout(NamedTuple):
    """Folders of images and labels; what stands before ".png" in the name of an image's label."""

    images: str
    labels: str
    suffix: str


LAYOUTS = (
    Layout("images/10k", "labels/sem_seg/masks", ""),
    Layout("seg/images", "seg/labels", "_train_id"),
    Layout("images", "labels", "_train_id"),
)
SPLITS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}


class BDD(Dataset):
    """7000 train, 1000 val and 2000 test images; those of test have no labels.

    images=False opens a folder of labels alone, for label scripts.
    """

    name = "bdd"
    classes = Cityscapes.classes
    palette = Cityscapes.palette

    def __init__(self, root: str | Path, split: str, *, images: bool = True) -> None:
        require_split(self.name, split, tuple(SPLITS))
        root, layout = _find_layout(Path(root))
        parts = [_find_records(root, part, layout, images) for part in SPLITS[split]]
        super().__init__(root, split, [record for part in parts for record in part])


def _find_layout(root: Path) -> tuple[Path, Layout]:
    for folder in (root, root / "bdd100k"):
        for layout in LAYOUTS:
            if (folder / layout.images).is_dir() or (folder / layout.labels).is_dir():
                return folder, layout
    raise FileNotFoundError(
        f"Neither images/10k/ nor seg/ in {root} or {root / 'bdd100k'}. Unzip "
        f"bdd100k_images_10k.zip and bdd100k_sem_seg_labels_trainval.zip into {root}, or point "
        "the data root at the folder that has images/ and labels/."
    )


def _find_records(root: Path, part: str, layout: Layout, images: bool) -> list[Record]:
    """The samples of one part, by name; `Dataset` checks that both files of each are there."""
    image_folder = root / layout.images / part
    label_folder = root / layout.labels / part
    image_files = named_files(image_folder, ".jpg") if images else {}
    label_files = {
        name: path
        for name, path in named_files(label_folder, f"{layout.suffix}.png").items()
        if not EDGE_LABEL.search(name)
    }
    if images and not image_files:
        raise FileNotFoundError(
            f"No *.jpg in {image_folder}. Unzip bdd100k_images_10k.zip into {root.parent}."
        )
    if part == "test":
        return [Record(name, path) for name, path in sorted(image_files.items())]
    if not label_files:
        raise FileNotFoundError(
            f"No *{layout.suffix}.png in {label_folder}. "
            f"Unzip bdd100k_sem_seg_labels_trainval.zip into {root.parent}."
        )
    return [
        Record(
            name,
            image_files.get(name, image_folder / f"{name}.jpg") if images else None,
            label_files.get(name, label_folder / f"{name}{layout.suffix}.png"),
        )
        for name in sorted(image_files.keys() | label_files.keys())
    ]
