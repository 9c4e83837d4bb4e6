"""What the colours of a coloured label map mean: the palette of a data set, read backwards."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from data.base import Dataset
from data.cityscapes import LABELS, TRAIN_LABELS
from data.dataset_file import class_pairs, pack_color
from data.folder import Folder
from data.image_io import IGNORE

BLACK = 0  # packed: what is no class, unless one has the colour


def label_colors(source: Dataset | type[Dataset]) -> dict[int, int]:
    """Packed colour (red << 16 | green << 8 | blue) -> train id of segmentation, 255 for none.

    Of a folder of anybody's own data whose label maps are in colours, what its dataset.json says of
    them; else the classes' own colours. Colours that two classes share are left out.
    """
    if isinstance(source, Folder):
        content = source.content
        if content.colored:
            none = dict.fromkeys([BLACK, *content.none], IGNORE)
            return none | {c: min(k, IGNORE) for c, k in class_pairs(content, "seg")}
        return _own_colors(pack_color(entry.color) for entry in content.task_classes("seg"))
    own = _own_colors(pack_color(color) for color in np.asarray(source.palette).tolist())
    if tuple(source.classes) == tuple(label.name for label in TRAIN_LABELS):
        void = {pack_color(label.color): IGNORE for label in LABELS if label.train_id == IGNORE}
        return void | own
    return own


def _own_colors(packed: Iterable[int]) -> dict[int, int]:
    colors = list(packed)
    times = Counter(colors)
    return {BLACK: IGNORE} | {c: k for k, c in enumerate(colors) if times[c] == 1}
