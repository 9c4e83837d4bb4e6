"""Reading what `test.py` leaves: `metrics.json` and the counts of every image.

What else lies in a folder, and other arrays in `counts.npz`, are not looked at. Whether several
results may be compared is the business of `agreement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import first_few, read_json, reading, require_file
from data.names import require_unique
from utils.edge_metrics import MATCHED_PREDICTED, MATCHED_TRUE, PREDICTED, TRUE

METRICS, COUNTS = "metrics.json", "counts.npz"
AGAIN = "score again with test.py"


@dataclass(frozen=True)
class Result:
    """One folder of results.

    Args:
        name: What tables call it.
        folder: Where it lies.
        task: "edge" or "seg".
        protocol: How it was scored, by name of the knob.
        source: What was scored against what.
        classes: K names.
        images: N names.
        counts: "edge": {"counts": (N, M, K, T, 4)}; "seg": {"pixels": (N, K, 3), "boundary":
            (N, B, K, 4), "region": (N, K, 2)}. Integers.
        stated: Means by `metrics.json`: "edge": {mode: {"mean": {...}}}; "seg": {"miou": ...}.
    """

    name: str
    folder: Path
    task: str
    protocol: dict[str, Any]
    source: dict[str, Any]
    classes: tuple[str, ...]
    images: tuple[str, ...]
    counts: dict[str, np.ndarray]
    stated: dict[str, Any]

    @property
    def variants(self) -> list[Any]:
        """What the second axis of its counts stands for: modes of edges, bounds of boundary F."""
        return self.protocol["modes" if self.task == "edge" else "bounds"]

    def with_images(self, names: Sequence[str]) -> "Result":
        """Only these images, in this order."""
        place = {name: i for i, name in enumerate(self.images)}
        rows = [place[name] for name in names]
        counts = {key: array[rows] for key, array in self.counts.items()}
        return replace(self, images=tuple(names), counts=counts)

    def is_binary(self, mode: str) -> bool:
        """Whether the predictions of a mode are edge or no edge, so that they have no AP."""
        mean = self.stated[mode]["mean"]
        return mean.get("ods") is not None and mean.get("ap") is None


def read_result(folder: Path, name: str) -> Result:
    """Read one folder of results.

    InputError or FileNotFoundError for a folder that holds none, and for files that are damaged or
    do not belong together.
    """
    document = read_json(_find_metrics(folder), METRICS)
    try:
        task, protocol, source = document["task"], dict(document["protocol"]), document["source"]
        described, stated = _described(task, protocol, document["scores"])
        classes = tuple(str(each["name"]) for each in described)
        shapes = _shapes(task, protocol, len(classes))
        source = dict(source)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(f"{folder / METRICS}: is no {METRICS} of test.py; {AGAIN}") from error
    counts, images = _read_counts(folder / COUNTS, shapes)
    if source.get("images", len(images)) != len(images):
        raise InputError(
            f"{folder}: the number of images is {source['images']} by {METRICS} and {len(images)} "
            f"by {COUNTS}; they are of two runs, {AGAIN}"
        )
    return Result(name, folder, task, protocol, source, classes, images, counts, stated)


def _described(
    task: str, protocol: dict[str, Any], scores: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(what `metrics.json` says of each class, `Result.stated`); errors for another content."""
    if task != "edge":
        return scores["classes"], _numbers({"miou": scores["miou"]})
    stated = {mode: {"mean": _numbers(scores[mode]["mean"])} for mode in protocol["modes"]}
    return scores[next(iter(stated))]["classes"], stated


def _shapes(task: str, protocol: dict[str, Any], classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays behind the images; ValueError for no task of ours."""
    if task == "edge":
        return {"counts": (len(protocol["modes"]), classes, int(protocol["thresholds"]), 4)}
    if task != "seg":
        raise ValueError(task)
    bounds = [float(bound) for bound in protocol["bounds"]]
    return {"pixels": (classes, 3), "boundary": (len(bounds), classes, 4), "region": (classes, 2)}


def _numbers(figures: dict[str, Any]) -> dict[str, float | None]:
    """The same figures; ValueError for what is no number."""
    return {name: None if value is None else float(value) for name, value in figures.items()}


def _find_metrics(folder: Path) -> Path:
    """The folder's `metrics.json`; an error that lists the folders below that have one."""
    path = folder / METRICS
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder of results")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a folder of results of test.py")
    if not path.exists():
        below = sorted(found.parent for found in folder.glob(f"*/{METRICS}"))
        below += sorted(found.parent for found in folder.glob(f"*/*/{METRICS}"))
        if below:
            have = "has" if len(below) == 1 else "have"
            raise InputError(
                f"{folder}: has no {METRICS}, but {len(below)} of its folders {have} one: "
                f"{first_few(below, 12)}; give one of these"
            )
        raise FileNotFoundError(f"{folder}: has no {METRICS}; expected a folder of test.py's --out")
    return require_file(path, METRICS)


def _read_counts(
    path: Path, shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays and the names of the images. shapes: of each array, behind the images."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: is not there, and intervals need it; {AGAIN}")
    with reading(path, AGAIN), np.load(require_file(path, COUNTS), allow_pickle=False) as file:
        arrays = {name: file[name] for name in (*shapes, "names") if name in file.files}
    if lacking := [name for name in (*shapes, "names") if name not in arrays]:
        raise InputError(f"{path}: has no array {first_few(lacking)}; {AGAIN}")
    names = arrays.pop("names")
    if names.dtype.kind != "U" or names.ndim != 1 or not len(names):
        raise InputError(f"{path}: its names are no names of images; {AGAIN}")
    for name, shape in shapes.items():
        _require_counts(arrays[name], (len(names), *shape), f"{path}: {name}")
    require_unique(names.tolist(), str(path))
    return arrays, tuple(names.tolist())


def _require_counts(array: np.ndarray, shape: tuple[int, ...], where: str) -> None:
    """InputError unless these are counts of pixels that can be."""
    if array.dtype.kind not in "iu" or array.shape != shape:
        found = f"{array.dtype} {array.shape}"
        raise InputError(f"{where} is {found}, and by {METRICS} integers {shape}; {AGAIN}")
    wrong = array.min(initial=0) < 0
    if shape[-1] == 4:  # matched pixels are some of all
        for part, whole in ((MATCHED_TRUE, TRUE), (MATCHED_PREDICTED, PREDICTED)):
            wrong = wrong or (array[..., part] > array[..., whole]).any()
    else:  # so are those in the intersection
        wrong = wrong or (array[..., :1] > array[..., 1:]).any()
    if wrong:
        raise InputError(f"{where} has numbers of pixels that cannot be; {AGAIN}")
