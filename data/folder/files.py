"""The files of a folder of anybody's own data, whether they fit together or not."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.dataset_file import NAME
from data.names import EDGE_LABEL, IMAGE_ENDINGS, keyed_files


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder by name: the path below images/, labels/ or instances/, no ending."""

    images: dict[str, Path]
    labels: dict[str, Path]
    instances: dict[str, Path]


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
