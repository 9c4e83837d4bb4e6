"""The work of an import: makes what is missing or stale, one image at a time or in processes."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.gtlabel.job import Failure, Job
from data.gtlabel.pool import WorkOptions, run_each
from data.image_io import image_size, write_png
from data.importer.state import Made, Records
from data.importer.write import ImageMaker, Targets

WHAT = "images"


@dataclass(frozen=True)
class Done:
    """made, fresh: names of the images that were made, and that were up to date."""

    made: tuple[str, ...]
    fresh: tuple[str, ...]
    failures: tuple[Failure, ...]


def make_all(
    work: Sequence[tuple[ImageMaker, tuple[Path, ...]]], records: Records, options: WorkOptions
) -> Done:
    """Make what is missing or stale; whatever one image's files lead to, the others are done.

    Args:
        work: what makes an image, and the files that it reads.
        records: of what was made.
        options: processes, and whether to make all.
    """
    stale = [
        (maker, inputs)
        for maker, inputs in work
        if options.overwrite or not _is_up_to_date(maker, records.get(maker.targets.name))
    ]
    names = {maker.targets.name for maker, _ in stale}
    fresh = tuple(maker.targets.name for maker, _ in work if maker.targets.name not in names)
    jobs = (Job(maker.targets.name, inputs, maker, (), _itself) for maker, inputs in stale)
    outs = {maker.targets.name: maker.targets.out for maker, _ in stale}
    made: list[str] = []
    failures: list[Failure] = []
    with closing(run_each(jobs, len(stale), options)) as results:
        for result in tqdm(results, total=len(stale), desc=WHAT, unit="image", disable=None):
            if result.failure:
                failures.append(result.failure)
                continue
            _remove_former(outs[result.name], records.get(result.name), result.summary)
            records.add(result.name, result.summary)
            made.append(result.name)
    return Done(tuple(made), fresh, tuple(failures))


def _itself(made: Made) -> Made:
    return made


def _is_up_to_date(maker: ImageMaker, made: Made | None) -> bool:
    if made is None or not maker.digest or made.digest != maker.digest:
        return False
    targets = maker.targets
    files = [targets.image_path, targets.label_path]
    files += [targets.instance_path] if made.instance else []
    return made.image == targets.image and all(_has_content(path) for path in files)


def _has_content(path: Path) -> bool:
    """A power cut soon after a rename can leave a file without its content."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _remove_former(out: Path, before: Made | None, now: Made) -> None:
    """Remove the image of an earlier run if its kind, and so its ending, was another."""
    if before and before.image and before.image != now.image:
        with contextlib.suppress(OSError):
            (out / "images" / before.image).unlink()


def fill_instances(out: Path, made: Mapping[str, Made]) -> int:
    """Write instance maps without objects where only some images have one; returns how many.

    `data.folder` wants instance maps for all images or for none.
    """
    if not any(one.instance for one in made.values()):
        return 0
    lacking = list(_without(out, made))
    for targets in lacking:
        size = image_size(targets.label_path)
        write_png(targets.instance_path, np.zeros(size, np.uint16))
    return len(lacking)


def _without(out: Path, made: Mapping[str, Made]) -> Iterator[Targets]:
    for name, one in made.items():
        targets = Targets(out, name, one.image)
        if not one.instance and not targets.instance_path.exists():
            yield targets
