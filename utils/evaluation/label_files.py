"""Label maps in a folder by anybody: which files there are, whose they are, and their train ids.

A PNG holds one id per pixel, grey of 8 or 16 bits or with a palette: train ids (classes 0.., 255
for none), or Cityscapes' label ids where its name ends in `_labelIds` or the caller says so. Or
colours, if the caller knows what they mean. Where a folder holds files with that ending, the other
files of the same images (instances, colours) are passed by. Processes that count edges import this
module, so it imports no torch.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.cityscapes import TRAIN_LABELS, to_train_ids
from data.dataset_file import value_name
from data.errors import InputError
from data.files import first_few
from data.image_io import check_ids, index_header, read_header, read_index
from data.importer.maps import MapFile
from data.names import ENDINGS, base_name, keyed_files, match_names

LABEL_IDS = "_labelIds"
# Taken alone where they lie beside other PNGs of the same images, such as instances and colours.
PREFERRED = (LABEL_IDS, "_labelTrainIds")
COMPANION = re.compile(r"_((label|instance)\w*|color|disparity)$")
CITYSCAPES_NAME = re.compile(r"[\w-]+_\d{6}_\d{6}")  # <city>_<sequence>_<frame>
UNKNOWN = 256  # beside the train ids
SHOWN = 3  # colours in a message


class FolderLabels:
    """The PNGs below a folder.

    Args:
        root: the folder, or for predictions the one that predict.py wrote to.
        num_classes: at most 255; ids from there on, but for 255, are an InputError.
        what: "labels" or "predictions", for messages and `origin`.
        label_ids: the files hold Cityscapes' label ids; None: those whose names say so do.
        colors: what the colours of files in colours mean, see `data.label_colors`; None: such files
            are an InputError.
    """

    def __init__(
        self,
        root: str | Path,
        num_classes: int,
        *,
        what: str,
        label_ids: bool | None = None,
        colors: Mapping[int, int] | None = None,
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"no such folder of {what}: {root}")
        # The folder that predict.py wrote to has the label maps in a folder of its own.
        if what == "predictions" and (root / "labels").is_dir():
            root = root / "labels"
        self.root = root
        self.files = _preferred(keyed_files(root, ".png"), root)
        if not self.files:
            raise InputError(f"{root}: found no {what}; expected label maps NAME.png")
        if label_ids and num_classes != len(TRAIN_LABELS):
            raise InputError(
                f"--label-ids is for Cityscapes' {len(TRAIN_LABELS)} classes, "
                f"there are {num_classes} here"
            )
        self.num_classes, self.label_ids = num_classes, label_ids
        self.colors = None if colors is None or label_ids else tuple(sorted(colors.items()))
        self.names = sorted(self.files)
        self.origin = {what: str(root)}

    def load(self, name: str) -> np.ndarray:
        """uint8 (H, W), train ids."""
        path = self.files[name]
        if self.colors is not None and _is_colored(path):
            return _ids_of_colors(MapFile(path, colored=True).values(), self.colors, path)
        ids = read_index(path)
        by_name = path.stem.endswith(LABEL_IDS) and self.num_classes == len(TRAIN_LABELS)
        if self.label_ids or (self.label_ids is None and by_name):
            return to_train_ids(ids, path)
        try:
            return check_ids(ids, self.num_classes, path)
        except InputError as error:
            if self.num_classes != len(TRAIN_LABELS):
                raise
            raise InputError(
                f"{error}; if these are Cityscapes' label ids, add --label-ids"
            ) from error

    def size(self, name: str) -> tuple[int, int]:
        """(H, W) by the header; InputError for a file that cannot be a label map."""
        path = self.files[name]
        if self.colors is not None and _is_colored(path):
            return MapFile(path, colored=True).check().size
        return index_header(path).size

    def where(self, name: str) -> str:
        """Its file, for messages."""
        return str(self.files[name])


def _is_colored(path: Path) -> bool:
    header = read_header(path)
    return header.channels >= 3 and not header.palette


def _ids_of_colors(
    values: np.ndarray, colors: tuple[tuple[int, int], ...], path: Path
) -> np.ndarray:
    """Packed colours int32 (H, W) -> train ids uint8 (H, W); InputError for unknown colours."""
    ids = _color_table(colors).take(values)
    unknown = ids == UNKNOWN
    if unknown.any():
        found, counts = np.unique(values[unknown], return_counts=True)
        shown = first_few(
            (value_name(int(found[i]), colored=True) for i in np.argsort(-counts, kind="stable")),
            SHOWN,
        )
        raise InputError(
            f"{path}: {counts.sum()} pixels have the colour of no class, or of two: {shown}; "
            f"expected {first_few((value_name(c, colored=True) for c, _ in colors), SHOWN)}, as "
            "the data set's palette says; give its --dataset, or label maps of ids"
        )
    return ids.astype(np.uint8)


@lru_cache(maxsize=1)
def _color_table(colors: tuple[tuple[int, int], ...]) -> np.ndarray:
    """uint16 (2**24,), packed colour -> train id or UNKNOWN. A worker makes it once."""
    table = np.full(1 << 24, UNKNOWN, np.uint16)
    for color, train_id in colors:
        table[color] = train_id
    return table


def match_label_names(wanted: Sequence[str], available: Iterable[str]) -> dict[str, str]:
    """`data.names.match_names`, and for names of Cityscapes the rule of its server.

    Wanted name -> available name, one to one; InputError if it is not.
    """
    available = list(available)
    matches = match_names(wanted, available)
    used = set(matches.values())
    return matches | _match_beginnings(
        [name for name in wanted if name not in matches],
        [name for name in available if name not in used],
    )


def _match_beginnings(wanted: Sequence[str], available: Sequence[str]) -> dict[str, str]:
    """Matches by the rule of Cityscapes' server: the one file whose name begins with the image's.

    The image's name is <city>_<sequence>_<frame>; other names match nothing. InputError unless the
    matches are one to one.
    """
    by_base = sorted((base_name(name), name) for name in available)
    image_of: dict[str, str] = {}  # prediction -> image
    for name in wanted:
        own = ENDINGS.sub("", base_name(name))
        if not CITYSCAPES_NAME.fullmatch(own):
            continue
        first = bisect_left(by_base, (f"{own}_", ""))
        found = [each for base, each in by_base[first : first + 2] if base.startswith(f"{own}_")]
        if len(found) > 1:
            raise InputError(
                f"both {found[0]} and {found[1]} could be the file of {name}; remove one"
            )
        if found and found[0] in image_of:
            raise InputError(
                f"{found[0]} could be the file of {image_of[found[0]]} and of {name}; put it into "
                "the folder of the one that it belongs to"
            )
        image_of |= dict.fromkeys(found, name)
    return {name: each for each, name in image_of.items()}


def _preferred(files: dict[str, Path], root: Path) -> dict[str, Path]:
    """The files with the first of the endings PREFERRED that occurs; all, if none does.

    InputError if a file of another image is left out.
    """
    for ending in PREFERRED:
        chosen = {key: path for key, path in files.items() if key.endswith(ending)}
        if not chosen:
            continue
        images = {_image_of(key) for key in chosen}
        if others := [path for key, path in files.items() if _image_of(key) not in images]:
            raise InputError(
                f"{root}: {len(chosen)} PNGs end in {ending}, and {len(others)} of other images "
                f"do not, such as {first_few(others)}; give a folder with one kind"
            )
        return chosen
    return files


def _image_of(key: str) -> str:
    """The name of the image that a PNG of Cityscapes or its like belongs to."""
    return ENDINGS.sub("", COMPANION.sub("", base_name(key)))
