"""Street scenes that we draw ourselves, in Cityscapes' folder layout, label ids and instance ids: the data set at hand.

    python -m data.scenes --root datasets/scenes

`build_dataset("scenes", root, split)` draws the set at `root` when it isn't there: 200 train, 50 val and 20 test
images of 320x160, in well under a minute. Every image is a function of (seed, split, index) alone, to the last bit.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data.cityscapes import SPLITS, Cityscapes
from data.errors import InputError
from data.files import write_aside
from data.image_io import write_png

DEFAULT_ROOT = "datasets/scenes"
STAMP = "scenes.json"
VERSION = 1  # raise it with every change of the drawing: sets of another version are refused
PARTS = ("train", "val", "test")
TOWNS = {
    "train": "elmstreet",
    "val": "oakstreet",
    "test": "ashstreet",
}  # names must not repeat between splits


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set holds; written beside it as `scenes.json`."""

    seed: int = 0
    train: int = 200
    val: int = 50
    test: int = 20
    width: int = 320
    height: int = 160
    version: int = VERSION

    def __post_init__(self) -> None:
        if (
            min(self.seed, self.train, self.val, self.test) < 0
            or self.train + self.val + self.test == 0
        ):
            raise InputError(
                f"the seed and the numbers of images must not be negative, nor all be 0; found {self}"
            )
        if min(self.width, self.height) < 64 or max(self.width, self.height) > 4096:
            raise InputError(
                f"images must have sides of 64..4096; found {self.width}x{self.height}"
            )

    def count(self, part: str) -> int:
        return getattr(self, part)


class Scenes(Cityscapes):
    """The drawn set below `root`, which is made first where there is none; the options are those of `Cityscapes`."""

    name = "scenes"

    def __init__(self, root: str | Path, split: str, **options: bool | None) -> None:
        if split not in SPLITS:
            raise InputError(f"scenes has no split {split!r}; expected one of {', '.join(SPLITS)}")
        root = Path(root)
        plan = _read_stamp(root) or make_scenes(root)
        super().__init__(root, split, **options)
        wanted = sum(plan.count(part) for part in SPLITS[split])
        if len(self) != wanted:
            raise InputError(
                f"{root}: found {len(self)} images of split {split!r}, but {STAMP} says {wanted}; "
                "delete the folder and it will be drawn anew"
            )


def make_scenes(root: str | Path, plan: Plan | None = None, *, overwrite: bool = False) -> Plan:
    """Draw the set of `plan` (default: the standard set) at `root` and return its plan; a set already there stays.

    The folder appears whole or not at all: it is drawn beside `root` and renamed. Of several processes one draws and
    the others wait for it. A set of another plan or version is refused, or replaced if `overwrite` says so; a folder of
    anything else is never touched.
    """
    root, plan = Path(root).resolve(), plan or Plan()
    root.parent.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        replace = overwrite and (root / STAMP).is_file()
        found = None if replace else _read_stamp(root)
        if found is not None and found != plan:
            raise InputError(
                f"{root} holds another set ({found}); choose another folder, or replace it with --overwrite"
            )
        if found is None:
            for leftover in root.parent.glob(f".{root.name}.*.part"):
                shutil.rmtree(
                    leftover
                )  # of a run that was killed: nobody else draws while we hold the lock
            aside = root.with_name(f".{root.name}.{os.getpid()}.part")
            try:
                _draw_set(aside, plan)
                if replace:
                    shutil.rmtree(root)
                aside.replace(root)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return plan


def _draw_set(folder: Path, plan: Plan) -> None:
    jobs = [(part, index) for part in PARTS for index in range(plan.count(part))]
    # Threads: OpenCV draws without holding the interpreter's lock, and they start in daemonic processes too.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        steps = pool.map(partial(_draw_files, folder, plan), jobs)
        for _ in tqdm(
            steps,
            f"drawing {plan.width}x{plan.height} scenes",
            len(jobs),
            disable=None,
            leave=False,
        ):
            pass
    with write_aside(folder / STAMP) as aside:
        aside.write_text(json.dumps(asdict(plan), indent=2) + "\n", encoding="utf-8")


def _draw_files(folder: Path, plan: Plan, job: tuple[str, int]) -> None:
    from data.scenes.layout import draw_scene  # here, because reading a set needs none of it

    part, index = job
    image, label, instance = draw_scene(
        plan.seed, PARTS.index(part), index, plan.width, plan.height
    )
    place, name = f"{part}/{TOWNS[part]}", f"{TOWNS[part]}_{plan.seed:06d}_{index:06d}"
    write_png(folder / "leftImg8bit" / place / f"{name}_leftImg8bit.png", image)
    write_png(folder / "gtFine" / place / f"{name}_gtFine_labelIds.png", label)
    write_png(folder / "gtFine" / place / f"{name}_gtFine_instanceIds.png", instance)


def _read_stamp(root: Path) -> Plan | None:
    """The plan of the set at `root`; None where there is nothing. Anything else there is an InputError."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    remedy = "choose another folder, or delete this one and it will be drawn anew"
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
            f"{root} was drawn by version {version} of the scenes, this is version {VERSION}; {remedy}"
        )
    return plan


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock beside `root`. It is the kernel's, so it goes when its process dies."""
    import fcntl  # here, because only drawing needs it and Windows has none

    with root.with_name(f".{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
