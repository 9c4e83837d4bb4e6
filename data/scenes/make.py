"""Drawing a whole set into a folder, which appears complete or not at all."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data.errors import InputError
from data.files import first_few, require_space, require_writable
from data.image_io import write_png
from data.scenes import layout
from data.scenes.plan import PARTS, STAMP, Plan, read_plan, redraw, write_plan

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# One "city" for each part: names of samples must not repeat between splits.
TOWNS = {"train": "elmstreet", "val": "oakstreet", "test": "ashstreet"}
FOLDERS = ("leftImg8bit", "gtFine")
DRAWN = re.compile(
    rf"({'|'.join(TOWNS.values())})_[0-9]{{6,}}_[0-9]{{6}}_"
    r"(leftImg8bit|gtFine_labelIds|gtFine_instanceIds)\.png"
)
# What else may be in the folder of a set that is replaced: made by the commands from the set.
MADE_FROM_IT = ("class_centroids",)
BYTES_PER_PIXEL = 2  # of the three files of a scene, about; noise is hard to compress
PIXELS_AT_ONCE = 1 << 22  # of all threads; drawing takes some 60 bytes for a pixel


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
    root = Path(os.path.realpath(root))
    plan = plan or Plan()
    # Before the lock: it is a file beside the folder.
    if _set_at(root, plan, overwrite) is not None:
        return plan
    if root.exists() and (root.samefile(Path.cwd()) or os.path.ismount(root)):
        raise InputError(
            f"{root} is the current folder or a mount point, which cannot be replaced by the set; "
            "give a folder below it"
        )
    require_writable(root.parent, "--root")
    images = sum(plan.count(part) for part in PARTS)
    needed = images * plan.width * plan.height * BYTES_PER_PIXEL
    require_space(root.parent, needed, f"a set of {images} images")
    root.parent.mkdir(parents=True, exist_ok=True)
    with _lock(root) as locked:
        if _set_at(root, plan, overwrite) is None:
            _draw_and_rename(root, plan, overwrite, remove_leftovers=locked)
    return plan


def _set_at(root: Path, plan: Plan, overwrite: bool) -> Plan | None:
    """The plan if its set is at `root`; None if it is to be drawn there.

    InputError if there is anything that may not be replaced.
    """
    if overwrite and (root / STAMP).is_file():
        known = (STAMP, *FOLDERS, *MADE_FROM_IT)
        strange = [path.name for path in sorted(root.iterdir()) if path.name not in known]
        for folder in FOLDERS:
            strange += [
                path.relative_to(root).as_posix()
                for path in sorted((root / folder).rglob("*"))
                if not path.is_dir() and not DRAWN.fullmatch(path.name) and path.name[0] != "."
            ]
        if strange:
            raise InputError(
                f"{root} also holds {first_few(strange)}, which --overwrite would delete; move "
                "that elsewhere first"
            )
        return None
    found = read_plan(root)
    if found is not None and found != plan:
        raise InputError(
            f"{root} holds another set ({found}); choose another folder, or replace it with "
            "--overwrite"
        )
    if found is not None:
        _require_complete(root, found)
    return found


def _require_complete(root: Path, plan: Plan) -> None:
    """InputError if files of a set that was drawn are missing."""
    paths = [
        path
        for part in PARTS
        for index in range(plan.count(part))
        for path in _files_of(root, plan, part, index)
    ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"{root}: {len(missing)} of {len(paths)} files of the set are missing, such as "
            f"{missing[0]}; draw it again with {redraw(root)}, and the flags of then"
        )


def _draw_and_rename(root: Path, plan: Plan, overwrite: bool, *, remove_leftovers: bool) -> None:
    if remove_leftovers:
        # Of a run that was killed: nobody else draws while we hold the lock.
        pattern = re.compile(rf"\.{re.escape(root.name)}\.\d+\.part")
        for path in root.parent.iterdir():
            if pattern.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path)
    aside = root.with_name(f".{root.name}.{os.getpid()}.part")
    try:
        _draw_set(aside, plan)
        if overwrite and (root / STAMP).is_file():
            shutil.rmtree(root)
        elif root.exists():  # an empty folder, if nobody has put anything there since
            root.rmdir()
        aside.replace(root)
    except OSError as error:
        if error.filename is not None and str(aside) in os.fsdecode(error.filename):
            raise OSError(error.errno, error.strerror, str(root)) from error
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _draw_set(folder: Path, plan: Plan) -> None:
    jobs = [(part, index) for part in PARTS for index in range(plan.count(part))]
    title = f"drawing {plan.width}x{plan.height} scenes"
    # Threads: drawing does not hold the interpreter's lock for most of the time, and threads,
    # unlike processes, start in daemonic processes (data loader workers) too.
    at_once = max(1, PIXELS_AT_ONCE // (plan.width * plan.height))
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1, at_once))
    try:
        steps = pool.map(partial(_draw_files, folder, plan), jobs)
        for _ in tqdm(steps, title, len(jobs), disable=None, leave=False):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # else a signal would wait for all of them
    write_plan(folder, plan)


def _draw_files(folder: Path, plan: Plan, job: tuple[str, int]) -> None:
    part, index = job
    image, label, instance = layout.draw_scene(
        plan.seed, PARTS.index(part), index, plan.width, plan.height, quiet=plan.calm
    )
    for path, drawn in zip(
        _files_of(folder, plan, part, index), (image, label, instance), strict=True
    ):
        write_png(path, drawn)


def _files_of(folder: Path, plan: Plan, part: str, index: int) -> tuple[Path, Path, Path]:
    """The image, label map and instance map of a scene."""
    town = TOWNS[part]
    name = f"{town}_{plan.seed:06d}_{index:06d}"
    images, labels = (folder / kind / part / town for kind in FOLDERS)
    return (
        images / f"{name}_leftImg8bit.png",
        labels / f"{name}_gtFine_labelIds.png",
        labels / f"{name}_gtFine_instanceIds.png",
    )


@contextlib.contextmanager
def _lock(root: Path) -> Iterator[bool]:
    """Hold the lock beside `root`; yields whether there is one.

    The kernel releases it when the process dies. Windows and some network file systems have none:
    there, of two processes at once, both draw, and one of them fails.
    """
    with root.with_name(f".{root.name}.lock").open("w") as file:
        locked = fcntl is not None
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                locked = False
        yield locked
