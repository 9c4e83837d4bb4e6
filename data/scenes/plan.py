"""What a drawn set holds, and how that is written beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from data.errors import InputError
from data.files import write_aside

STAMP = "scenes.json"
VERSION = 1  # raise it with every change of the drawing: sets of another version are refused
PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Plan:
    """The options that a set is drawn with: seed, numbers of images, size of an image."""

    seed: int = 0
    train: int = 200
    val: int = 50
    test: int = 20
    width: int = 320
    height: int = 160
    version: int = VERSION

    def __post_init__(self) -> None:
        counts = (self.train, self.val, self.test)
        if min(self.seed, *counts) < 0 or sum(counts) == 0:
            raise InputError(
                "the seed and the numbers of images must not be negative, nor all be 0; found "
                f"{self}"
            )
        if min(self.width, self.height) < 64 or max(self.width, self.height) > 4096:
            raise InputError(
                f"images must have sides of 64..4096; found {self.width}x{self.height}"
            )

    def count(self, part: str) -> int:
        """The number of images of one of PARTS."""
        return getattr(self, part)


def write_plan(root: Path, plan: Plan) -> None:
    """Write the plan of the set at `root`, as scenes.json."""
    with write_aside(root / STAMP) as aside:
        aside.write_text(json.dumps(asdict(plan), indent=2) + "\n", encoding="utf-8")


def read_plan(root: Path) -> Plan | None:
    """The plan of the set at `root`; None where there is nothing.

    InputError if there is something else, or a set of another version.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    remedy = "choose another folder, or delete this one and it will be drawn again"
    try:
        stamp = json.loads((root / STAMP).read_text(encoding="utf-8"))
        version = stamp["version"]
        plan = Plan(**stamp) if version == VERSION else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{root} holds files but no readable {STAMP}, so it is no set of drawn scenes; {remedy}"
        ) from error
    if plan is None:
        raise InputError(
            f"{root} was drawn by version {version} of the scenes, this is version {VERSION}; "
            f"{remedy}"
        )
    return plan
