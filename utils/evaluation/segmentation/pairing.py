"""Which predicted label map belongs to which true one, and whether the two fit.

All of it is looked at before the first image is counted, from names and headers alone.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from data.errors import InputError
from data.files import first_few
from data.names import ENDINGS, base_name, match_names, require_utf8
from utils.evaluation.segmentation.label_maps import LabelMaps

SHOWN = 5
CITYSCAPES_NAME = re.compile(r"[\w-]+_\d{6}_\d{6}")  # <city>_<sequence>_<frame>


def match_maps(
    truth: LabelMaps, predictions: LabelMaps, *, allow_missing: bool, report: Callable[[str], None]
) -> dict[str, str]:
    """Name in the ground truth -> name of its prediction, one to one.

    Missing predictions are an InputError, or left out if `allow_missing`; extra ones are reported.
    """
    require_utf8(truth.names, "images")  # the report could not hold them
    matches = match_names(truth.names, predictions.names)
    used = set(matches.values())
    matches |= _match_beginnings(
        [name for name in truth.names if name not in matches],
        [name for name in predictions.names if name not in used],
    )
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


def _match_beginnings(wanted: Sequence[str], available: Sequence[str]) -> dict[str, str]:
    """Matches by the rule of Cityscapes' server: the one file whose name begins with the image's.

    The image's name is <city>_<sequence>_<frame>; other names match nothing. InputError unless the
    matches are one to one.
    """
    by_base = sorted((base_name(name), name) for name in available)
    image_of: dict[str, str] = {}  # prediction -> image
    for name in wanted:
        own = ENDINGS.sub("", base_name(name))
        if not CITYSCAPES_NAME.fullmatch(own):
            continue
        first = bisect_left(by_base, (f"{own}_", ""))
        found = [each for base, each in by_base[first : first + 2] if base.startswith(f"{own}_")]
        if len(found) > 1:
            raise InputError(
                f"both {found[0]} and {found[1]} could be the file of {name}; remove one"
            )
        if found and found[0] in image_of:
            raise InputError(
                f"{found[0]} could be the file of {image_of[found[0]]} and of {name}; put it into "
                "the folder of the one that it belongs to"
            )
        image_of |= dict.fromkeys(found, name)
    return {name: each for each, name in image_of.items()}


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
