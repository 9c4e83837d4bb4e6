"""What a drawn set holds, and how that is written beside it."""

import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from data.args import MAX_SEED
from data.errors import InputError
from data.files import read_json, write_aside

STAMP = "scenes.json"
VERSION = 1  # raise it with every change of the drawing: sets of another version are refused
PARTS = ("train", "val", "test")
MAX_IMAGES = 100_000  # of each part
SIDES = (64, 4096)  # of an image, shortest and longest


@dataclass(frozen=True, slots=True)
class Plan:
    """The options that a set is drawn with: seed, numbers of images, size of an image, kind of
    street (`data.scenes.calm`)."""

    seed: int = 0
    train: int = 200
    val: int = 50
    test: int = 20
    width: int = 320
    height: int = 160
    version: int = VERSION
    calm: bool = False

    def __post_init__(self) -> None:
        numbers = self.to_plain()
        if numbers.pop("calm", True) is not True:
            raise InputError(f"calm of a plan must be true or false; found {self.calm!r}")
        if strange := [name for name, number in numbers.items() if type(number) is not int]:
            kind = type(numbers[strange[0]]).__name__
            raise InputError(f"{strange[0]} of a plan must be a whole number; found a {kind}")
        counts = (self.train, self.val, self.test)
        if min(self.seed, *counts) < 0 or sum(counts) == 0:
            raise InputError(
                "the seed and the numbers of images must not be negative, nor all be 0; found "
                f"{self}"
            )
        if self.seed > MAX_SEED or max(counts) > MAX_IMAGES:
            raise InputError(
                f"the seed may be {MAX_SEED} at most, the numbers of images {MAX_IMAGES}"
            )
        low, high = SIDES
        if min(self.width, self.height) < low or max(self.width, self.height) > high:
            raise InputError(
                f"images must have sides of {low}..{high}; found {self.width}x{self.height}"
            )

    def to_plain(self) -> dict[str, int | bool]:
        """What the stamp says; "calm" only where it is: stamps of before have no such entry."""
        plain = asdict(self)
        if self.calm is False:
            del plain["calm"]
        return plain

    def count(self, part: str) -> int:
        """The number of images of one of PARTS."""
        return getattr(self, part)


def write_plan(root: Path, plan: Plan) -> None:
    """Write the plan of the set at `root`, as scenes.json."""
    with write_aside(root / STAMP) as aside:
        aside.write_text(json.dumps(plan.to_plain(), indent=2) + "\n", encoding="utf-8")


def read_plan(root: Path) -> Plan | None:
    """The plan of the set at `root`; None where there is nothing.

    InputError if there is something else, or a set of another version. It never advises to delete a
    folder: what is in one without a stamp is not ours.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    if not (root / STAMP).is_file():
        raise InputError(
            f"{root} holds no {STAMP}, so it is no set of drawn scenes; choose another folder. If "
            "it is a data set, --data-root needs --dataset; for your own images, bring them into "
            "the layout of one (docs/data.md)"
        )
    try:
        stamp = read_json(root / STAMP)
        version = stamp.get("version") if isinstance(stamp, dict) else None
        if type(version) is not int:
            raise InputError("it does not say the version of the drawing")
        if version == VERSION:
            return _plan_of(stamp)
    except (InputError, OSError) as error:
        raise InputError(
            f"{root} holds no readable {STAMP} ({error}), so it is no set of drawn scenes; choose "
            "another folder"
        ) from error
    raise InputError(
        f"{root} was drawn by version {version} of the scenes, this is version {VERSION}; choose "
        f"another folder, or draw it again with {redraw(root)}"
    )


def _plan_of(stamp: dict) -> Plan:
    names = {entry.name for entry in fields(Plan)}
    if stamp.keys() | {"calm"} != names:
        raise InputError(f"found {', '.join(stamp)}; expected {', '.join(sorted(names))}")
    return Plan(**stamp)


def redraw(root: Path) -> str:
    """The command that draws a set again."""
    return f"python -m data.scenes --root {shlex.quote(str(root))} --overwrite"
