"""Which predicted label map belongs to which true one, and whether the two fit.

All of it is looked at before the first image is counted, from names and headers alone.
"""

from collections.abc import Callable, Mapping

from data.errors import InputError
from data.files import first_few
from data.names import require_utf8
from utils.evaluation.label_files import match_label_names
from utils.evaluation.segmentation.label_maps import LabelMaps

SHOWN = 5


def match_maps(
    truth: LabelMaps, predictions: LabelMaps, *, allow_missing: bool, report: Callable[[str], None]
) -> dict[str, str]:
    """Name in the ground truth -> name of its prediction, one to one.

    Missing predictions are an InputError, or left out if `allow_missing`; extra ones are reported.
    """
    require_utf8(truth.names, "images")  # the report could not hold them
    matches = match_label_names(truth.names, predictions.names)
    lacking = [name for name in truth.names if name not in matches]
    extra = sorted(set(predictions.names) - set(matches.values()))
    for names, what in (
        (lacking, "images have no prediction"),
        (extra, "predictions have no truth (not scored)"),
    ):
        if names:
            shown = " ".join(first_few(names, SHOWN).split())  # a name may have a newline
            report(f"{len(names)} {what}: {shown}")
    if not matches or (lacking and not allow_missing):
        raise InputError(
            f"{len(lacking)} of {len(truth.names)} images have no prediction, such as "
            f"{lacking[0]}; complete them, or score the rest with --allow-missing"
        )
    return {name: matches[name] for name in truth.names if name in matches}


def require_same_sizes(
    truth: LabelMaps, predictions: LabelMaps, matches: Mapping[str, str]
) -> None:
    """InputError that names both files unless each prediction has the size of its ground truth.

    All headers are read, so a file that is no label map is named here too.
    """
    wrong = []
    for name, other in matches.items():
        true, predicted = truth.size(name), predictions.size(other)
        if true is not None and predicted is not None and true != predicted:
            files = predictions.where(other), truth.where(name)
            wrong.append(size_problem(files, predicted, true))
    if wrong:
        more = f" ({len(wrong)} of {len(matches)} predictions do not fit)" if wrong[1:] else ""
        raise InputError(f"{wrong[0]}{more}")


def size_problem(files: tuple[str, str], predicted: tuple[int, ...], true: tuple[int, ...]) -> str:
    """One line on a prediction of the wrong size. files: of the prediction and the ground truth."""
    return (
        f"{files[0]}: the prediction is {predicted[1]}x{predicted[0]}, but its ground truth "
        f"{files[1]} is {true[1]}x{true[0]}; label maps must have the size of the ground truth"
    )
