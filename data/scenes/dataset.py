"""The data set at hand: street scenes that we draw ourselves, in Cityscapes' layout and ids.

    python -m data.scenes --root datasets/scenes

`build_dataset("scenes", root, split)` draws the set at `root` when it isn't there: 200 train, 50
val and 20 test images of 320x160, in well under a minute. Every image is a function of (seed,
split, index) alone, to the last bit.
"""

from pathlib import Path
from typing import Any

from data.base import require_split
from data.cityscapes import SPLITS, Cityscapes
from data.errors import InputError
from data.scenes.make import make_scenes
from data.scenes.plan import STAMP, Plan, read_plan, redraw


class Scenes(Cityscapes):
    """The drawn set below `root`, which is made first where there is none.

    The options are those of `Cityscapes`.
    """

    name = "scenes"

    def __init__(self, root: str | Path, split: str, **options: Any) -> None:
        # Before anything is drawn for it.
        require_split(self.name, split, tuple(SPLITS))
        root = Path(root)
        plan: Plan = read_plan(root) or make_scenes(root)
        super().__init__(root, split, **options)
        wanted = sum(plan.count(part) for part in SPLITS[split])
        if len(self) != wanted:
            raise InputError(
                f"{root}: found {len(self)} images of split {split!r}, but {STAMP} says {wanted}; "
                f"draw it again with {redraw(root)}"
            )
