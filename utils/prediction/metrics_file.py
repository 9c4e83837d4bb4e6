"""The thresholds in a `metrics.json` of test.py: the best one (ODS) of each class."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import first_few, read_json
from utils.edge_metrics.calibration import is_temperature
from utils.inference.temperature import Temperature, thresholds_at
from utils.model_info import filled, shown, thresholds_fault

MODES = ("thin", "raw", "crisp")  # of its scores, the first one that is there counts


def read_thresholds(
    path: str | Path, classes: Sequence[str], temperature: Temperature = 1.0
) -> tuple[tuple[float, ...], bool]:
    """The best threshold of each class, found by its name, and whether it is of thinned edges.

    A class without ground truth, or without a match at any threshold, gets the mean of the others.
    InputError for a file that is no such, or is of other classes.

    Args:
        path: of the file.
        classes: names, in the order of the result.
        temperature: of the probabilities that they are for; the file says at which they were found.
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
    found = _without_temperature(path, contents.get("source"), found)
    thresholds = filled(_in_order(path, names, found, classes))
    if thresholds is None:
        raise InputError(f"{path}: no class has a best threshold in it; give --threshold")
    return thresholds_at(thresholds, temperature), mode == "thin"


def _without_temperature(
    path: str | Path, source: Any, found: list[float | None]
) -> list[float | None]:
    """The thresholds as they would be at T = 1; `source` names the T that the test applied."""
    used = source.get("temperature", 1.0) if isinstance(source, dict) else 1.0
    each = used if isinstance(used, list) else [used] * len(found)
    if len(each) != len(found) or not all(map(is_temperature, each)):
        raise InputError(f"{path}: its source has a temperature that is none: {shown(used)}")
    return list(thresholds_at(found, tuple(1 / value for value in each)))


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
