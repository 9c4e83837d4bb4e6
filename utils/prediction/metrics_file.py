"""The thresholds in a `metrics.json` of test.py: the best one (ODS) of each class."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import first_few, read_json
from utils.model_info import filled, thresholds_fault

MODES = ("thin", "raw")  # of its scores, the first one that is there counts


def read_thresholds(path: str | Path, classes: Sequence[str]) -> tuple[tuple[float, ...], bool]:
    """The best threshold of each class, found by its name, and whether it is of thinned edges.

    A class without ground truth, or without a match at any threshold, gets the mean of the others.
    InputError for a file that is no such, or is of other classes.
    """
    contents = read_json(path, "metrics.json")
    scores = contents.get("scores") if isinstance(contents, dict) else None
    if not isinstance(scores, dict) or contents.get("task") != "edge":
        raise InputError(f"{path}: is no metrics.json of test.py for edges")
    mode = next((name for name in MODES if name in scores), None)
    try:
        rows = scores[mode]["classes"]
        names = [row["name"] for row in rows]
        found = [_best(row["ods"]) for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no best thresholds of classes in it; score again") from error
    if fault := thresholds_fault(found, len(names)):
        raise InputError(f"{path}: {fault}")
    thresholds = filled(_in_order(path, names, found, classes))
    if thresholds is None:
        raise InputError(f"{path}: no class has a best threshold in it; give --threshold")
    return thresholds, mode == "thin"


def _best(ods: Any) -> Any:
    """None without ground truth, and where nothing is right: all thresholds are equally good."""
    return ods["threshold"] if ods is not None and ods["f"] > 0 else None


def _in_order(
    path: str | Path, names: list[str], found: list[float | None], classes: Sequence[str]
) -> list[float | None]:
    """The thresholds in the order of `classes`; InputError unless these are the names."""
    if names == list(classes):  # also if two have one name
        return found
    if Counter(names) != Counter(classes) or len(set(names)) < len(names):
        only = [name for name in classes if name not in names]
        extra = [name for name in names if name not in classes]
        parts = [f"{first_few(only)} missing"] if only else []
        parts += [f"{first_few(extra)} unknown"] if extra else []
        differ = ", ".join(parts) or "a name occurs twice"
        raise InputError(f"{path}: its classes are not the checkpoint's: {differ}")
    return [found[names.index(name)] for name in classes]
