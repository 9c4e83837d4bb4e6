"""The data set `folder`: anybody's own images and labels.

    dataset.json                  classes, ids, splits: see `data.dataset_file`
    images/[FOLDER/]...NAME.*     images of any kind and size
    labels/[FOLDER/]...NAME.png   a map of ids, 8 or 16 bits, or of colours, for each image
    instances/[...]NAME.png       if there are any: a number for each object, 0 where there is none

A label has its image's name, with the same folders above it. `python -m data.importer` makes such
a folder from other formats, `python -m data.inspect` shows what is in it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from data.base import Dataset, Record
from data.dataset_file import (
    DERIVED,
    IGNORED_PIXEL,
    MAX_ID,
    NAME,
    DatasetFile,
    class_pairs,
    read_dataset_file,
)
from data.errors import InputError
from data.files import first_few, read_list
from data.image_io import (
    IGNORE,
    Header,
    index_header,
    read_header,
    read_image,
    read_index,
    require_size,
)
from data.names import EDGE_LABEL, IMAGE_ENDINGS, composed, keyed_files

REGION_OF_IGNORED = 2  # an instance id that the edge rule ignores, see `data.edges.rule`
FIRST_REGION = 4  # above 0 (no region) and the ids that the rule ignores
LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder by name: the path below images/, labels/ or instances/, no ending."""

    images: dict[str, Path]
    labels: dict[str, Path]
    instances: dict[str, Path]


class Folder(Dataset):
    """One split of a folder of anybody's own data; "trainval" and "all" are there besides its own.

    A split none of whose images has a label map has no ground truth; if only some lack one, that
    is an error.
    """

    name = "folder"
    classes: tuple[str, ...] = ()  # of each folder its own
    palette = np.zeros((0, 3), np.uint8)

    def __init__(self, root: str | Path, split: str, *, task: str | None = None) -> None:
        """Find the files of a split.

        Args:
            root: the folder that has dataset.json, images/ and labels/.
            split: one that dataset.json names, "trainval" or "all".
            task: "seg" has the background as its last class, if dataset.json names one.
        """
        root = Path(root)
        self.content = read_dataset_file(root)
        self.task = task
        described = self.content.task_classes(task)
        self.classes = tuple(entry.name for entry in described)
        self.palette = np.array([entry.color for entry in described], np.uint8)
        self._pairs = class_pairs(self.content, task)
        files = find_folder_files(root)
        names = split_names(root, self.content, files.images, split)
        super().__init__(root, split, _records(root, files, names, split))

    def list_files(self) -> list[Path]:
        """dataset.json and the lists of splits."""
        lists = [rule for rule in self.content.splits.values() if isinstance(rule, str)]
        return [self.root / name for name in (NAME, *lists)]

    def read_image(self, record: Record) -> np.ndarray:
        """Read the image: uint8 (H, W, 3), RGB, upright if dataset.json says so."""
        if record.image is None:
            raise InputError(f"{self.name}: {record.name} has no image, only labels")
        return read_image(record.image, upright=self.content.upright)

    def image_size(self, record: Record) -> tuple[int, int]:
        """(H, W) of the image as `read_image` returns it, from its header."""
        if record.image is None:
            return super().image_size(record)  # which says so
        return shown_size(read_header(record.image), upright=self.content.upright)

    def label_header(self, path: Path) -> Header:
        """The header of a label map; InputError for a file that cannot be one."""
        if not self.content.colored:
            return index_header(path)
        header = read_header(path)
        _require_lossless(header, path)
        return header

    def turned_images(self) -> int:
        """The number of images whose EXIF data ask to be turned and that are not."""
        return 0 if self.content.upright else super().turned_images()

    def read_ground_truth(self, record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the ground truth: (label uint8 (H, W) of train ids, regions int32 (H, W)).

        Regions have a number for each pair of class and object. They are None where there are
        neither objects nor ignored pixels: then each class is one region.
        """
        if record.label is None:
            return None, None
        values = self.read_values(record.label)
        codes = _train_ids(self._pairs, 1 << 24 if self.content.colored else MAX_ID + 1)[values]
        label = np.minimum(codes, IGNORE).astype(np.uint8)
        ignored = codes == IGNORED_PIXEL
        if record.instance is None and not ignored.any():
            return label, None
        regions = label.astype(np.int32) + FIRST_REGION
        if record.instance is not None:
            numbers = read_index(record.instance)
            require_size(numbers, label.shape, "instance map", record.instance, record.label)
            regions += numbers.astype(np.int32) * 256
        regions[ignored] = REGION_OF_IGNORED
        return label, regions

    def read_values(self, path: Path) -> np.ndarray:
        """The values of a label map, int32 (H, W): ids, or packed colours."""
        if not self.content.colored:
            return read_index(path).astype(np.int32)
        _require_lossless(read_header(path), path)
        return pack_colors(read_image(path))


@lru_cache(maxsize=4)
def _train_ids(pairs: tuple[tuple[int, int], ...], size: int) -> np.ndarray:
    """uint16 (size,), value -> train id, 255 or IGNORED_PIXEL.

    Kept here and not in the data set, which is sent to worker processes with every job.
    """
    table = np.full(size, IGNORE, np.uint16)
    for value, train_id in pairs:
        table[value] = train_id
    return table


def pack_colors(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGB -> int32 (H, W), as `data.dataset_file.pack_color`."""
    red, green, blue = np.moveaxis(image.astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def shown_size(header: Header, *, upright: bool) -> tuple[int, int]:
    """(H, W) of an image as stored, or with `upright` as its EXIF data turn it."""
    height, width = header.size
    return (width, height) if upright and header.orientation >= 5 else (height, width)


def find_folder_files(root: Path) -> FolderFiles:
    """All images, label maps and instance maps of a folder, whether they fit together or not."""
    for part in ("images", "labels"):
        if not (root / part).is_dir():
            raise FileNotFoundError(
                f"no folder {part}/ in {root}; expected images/NAME.* and labels/NAME.png beside "
                f"{NAME}"
            )
    images = keyed_files(root / "images", *IMAGE_ENDINGS)
    if not images:
        raise FileNotFoundError(f"no images below {root / 'images'}")
    instances = root / "instances"
    return FolderFiles(
        images,
        _maps(root / "labels", images),
        _maps(instances, images) if instances.is_dir() else {},
    )


def _maps(folder: Path, images: Iterable[str]) -> dict[str, Path]:
    """PNGs by name, but for the edge labels that a label script wrote beside them."""
    found = keyed_files(folder, ".png")
    return {
        name: path for name, path in found.items() if name in images or not EDGE_LABEL.search(name)
    }


def split_names(root: Path, content: DatasetFile, names: Iterable[str], split: str) -> list[str]:
    """The names of a split's images, sorted; InputError for an unknown or an empty split."""
    splits = content.splits
    if split == "all":
        return sorted(names)
    if split == "trainval" and {"train", "val"} <= splits.keys():
        parts = ("train", "val")
        found = {name for part in parts for name in split_names(root, content, names, part)}
        return sorted(found)
    if split not in splits:
        raise InputError(
            f"{root / NAME} has no split {split!r}; expected one of "
            f"{', '.join((*splits, *DERIVED))}"
        )
    rule = splits[split]
    if isinstance(rule, int | float):
        found = [name for name in names if share_of(content, name) == split]
        advice = "add images, or change its share or the seed"
    elif isinstance(rule, str):
        found = _listed(root / rule, names)
        advice = f"write them into {rule}"
    else:
        found = [name for name in names if _is_below(name, rule)]
        advice = f"expected images below {first_few(f'images/{folder}/' for folder in rule)}"
    if not found:
        raise InputError(f"{root / NAME}: the split {split!r} has no images; {advice}")
    return sorted(found)


def share_of(content: DatasetFile, name: str) -> str:
    """The split that a hash picks for an image, where splits are shares."""
    shares = {key: rule for key, rule in content.splits.items() if isinstance(rule, int | float)}
    folder, slash, _ = name.rpartition("/")
    key = folder if content.by_folder and slash else name
    digest = hashlib.sha256(f"{content.seed} {key}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return split  # rounding at the very end


def _listed(path: Path, names: Iterable[str]) -> list[str]:
    """The images that a list names, with or without their endings."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of images; {NAME} names it")
    available = set(names)

    def parse(line: str) -> str:
        name = composed(line.removeprefix("images/"))
        for form in (name, PurePosixPath(name).with_suffix("").as_posix()):
            if form in available:
                return form
        raise ValueError("there is no such image below images/")

    return list(dict.fromkeys(read_list(path, parse)))


def _is_below(name: str, folders: Sequence[str]) -> bool:
    return any(folder == "." or name.startswith(f"{folder}/") for folder in folders)


def _records(root: Path, files: FolderFiles, names: Sequence[str], split: str) -> list[Record]:
    lacking = [name for name in names if name not in files.labels]
    if len(lacking) == len(names):
        return [Record(name, files.images[name]) for name in names]
    if lacking:
        shown = first_few(str(files.images[name].relative_to(root)) for name in lacking)
        raise FileNotFoundError(
            f"folder {split}: {len(lacking)} of {len(names)} images have no label map below "
            f"{root / 'labels'}: {shown}; draw them, or move the images elsewhere"
        )
    missing = root / "instances"
    return [
        Record(
            name,
            files.images[name],
            files.labels[name],
            # Any that is missing where there are some is an error, which `Dataset` raises.
            files.instances.get(name, missing / f"{name}.png") if files.instances else None,
        )
        for name in names
    ]


def _require_lossless(header: Header, path: Path) -> None:
    if header.kind not in LOSSLESS:
        raise InputError(
            f"{path}: is a {header.kind}, which may not keep colours exactly; expected a PNG"
        )
    if header.bits != 8 and not header.palette:
        raise InputError(
            f"{path}: has {header.bits} bits in each channel; expected colours of 3 x 8 bits"
        )
