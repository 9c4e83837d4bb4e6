"""Drawing a whole set into a folder, which appears complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data.errors import InputError
from data.image_io import write_png
from data.scenes import layout
from data.scenes.plan import PARTS, STAMP, Plan, read_plan, write_plan

# One "city" for each part: names of samples must not repeat between splits.
TOWNS = {"train": "elmstreet", "val": "oakstreet", "test": "ashstreet"}


def make_scenes(root: str | Path, plan: Plan | None = None, *, overwrite: bool = False) -> Plan:
    """Draw the set of `plan` at `root` and return its plan; a set already there stays.

    The set is drawn beside `root` and renamed. Of several processes one draws and the others wait
    for it.

    Args:
        root: the folder to make. InputError if it holds anything else than a set of this version;
            such a folder is never touched.
        plan: None draws the standard set. InputError if `root` holds a set of another plan.
        overwrite: replace a set of another plan or version.
    """
    root = Path(root).resolve()
    plan = plan or Plan()
    root.parent.mkdir(parents=True, exist_ok=True)
    with _lock(root):
        replace = overwrite and (root / STAMP).is_file()
        found = None if replace else read_plan(root)
        if found is not None and found != plan:
            raise InputError(
                f"{root} holds another set ({found}); choose another folder, or replace it with "
                "--overwrite"
            )
        if found is None:
            _draw_and_rename(root, plan, replace)
    return plan


def _draw_and_rename(root: Path, plan: Plan, replace: bool) -> None:
    # Leftovers are of a run that was killed: nobody else draws while we hold the lock.
    for leftover in root.parent.glob(f".{root.name}.*.part"):
        shutil.rmtree(leftover)
    aside = root.with_name(f".{root.name}.{os.getpid()}.part")
    try:
        _draw_set(aside, plan)
        if replace:
            shutil.rmtree(root)
        aside.replace(root)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _draw_set(folder: Path, plan: Plan) -> None:
    jobs = [(part, index) for part in PARTS for index in range(plan.count(part))]
    title = f"drawing {plan.width}x{plan.height} scenes"
    # Threads: drawing does not hold the interpreter's lock for most of the time, and threads,
    # unlike processes, start in daemonic processes (data loader workers) too.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        steps = pool.map(partial(_draw_files, folder, plan), jobs)
        for _ in tqdm(steps, title, len(jobs), disable=None, leave=False):
            pass
    write_plan(folder, plan)


def _draw_files(folder: Path, plan: Plan, job: tuple[str, int]) -> None:
    part, index = job
    image, label, instance = layout.draw_scene(
        plan.seed, PARTS.index(part), index, plan.width, plan.height
    )
    town = TOWNS[part]
    name = f"{town}_{plan.seed:06d}_{index:06d}"
    images = folder / "leftImg8bit" / part / town
    labels = folder / "gtFine" / part / town
    write_png(images / f"{name}_leftImg8bit.png", image)
    write_png(labels / f"{name}_gtFine_labelIds.png", label)
    write_png(labels / f"{name}_gtFine_instanceIds.png", instance)


@contextlib.contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Hold the lock beside `root`. The kernel releases it when the process dies."""
    import fcntl  # here, because only drawing needs it and Windows has none

    with root.with_name(f".{root.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
