"""Whether results may be compared: one protocol, the same classes, images and ground truth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import first_few
from utils.compare.measures import true_pixels
from utils.compare.options import option_notes
from utils.compare.results import Result
from utils.compare.words import UNSTATED, counted, differ, knobs_of, listed, word

# Of `source`, what says which ground truth it was. Paths are not compared: data lies elsewhere on
# another machine. The true pixels of every image are, in `_require_same_truth`.
TRUTH = ("dataset", "split")
VARIANTS = {"edge": "modes", "seg": "bounds"}


def agree(results: Sequence[Result], *, common: bool) -> tuple[list[Result], list[str]]:
    """The results over the same images, modes and bounds, and notes: what was left out, and what
    differs without forbidding the comparison.

    The images come in the order of the first result.

    Args:
        results: At least two.
        common: Compare the images that are in all; without it, other images are refused.

    Raises:
        InputError: They cannot be compared, with all that differs in one line.
    """
    found = _differences(results)
    names, images_differ = _common_images(results)
    same_task = len({result.task for result in results}) == 1
    if images_differ and same_task and not (common and names):
        found.append(images_differ)
    if found:
        raise InputError(f"the results cannot be compared, these differ: {'; '.join(found)}")
    notes = []
    for result in results:
        if dropped := len(result.images) - len(names):
            notes.append(f"{dropped} of the {len(result.images)} images of {result.name} left out")
    variants = [v for v in results[0].variants if all(v in r.variants for r in results)]
    for result in results:
        if others := [word(v) for v in result.variants if v not in variants]:
            kind = VARIANTS[result.task]
            notes.append(f"{kind} that not all have are left out: {first_few(others, 9)}, of "
                         f"{result.name}")  # fmt: skip
    kept = [_with_variants(result.with_images(names), variants) for result in results]
    _require_same_truth(kept)
    return kept, notes + option_notes(results)


def _differences(results: Sequence[Result]) -> list[str]:
    """What forbids a comparison, images apart: "NAME (value of A, value of B)"."""
    if len({result.task for result in results}) > 1:
        return [listed("task", results, [result.task for result in results])]
    kind = VARIANTS[results[0].task]
    # A mode is also a knob, on or off; those that all have are compared.
    modes = {str(v) for r in results for v in r.variants}
    stated = [knobs_of(result) for result in results]
    found = [
        listed(knob, results, values)
        for knob in dict.fromkeys(knob for each in stated for knob in each)
        if knob not in modes and differ(values := [each.get(knob, UNSTATED) for each in stated])
    ]
    for key in TRUTH:  # files of labels have neither
        values = [r.source.get(key, UNSTATED) for r in results]
        if differ([value for value in values if value is not UNSTATED]):
            found.append(listed(key, results, values))
    if len({result.classes for result in results}) > 1:
        found.append(listed("classes", results, _own_classes(results)))
    if not set(results[0].variants).intersection(*(r.variants for r in results[1:])):
        found.append(listed(kind, results, [r.variants for r in results]))
    return found


def _own_classes(results: Sequence[Result]) -> list[str]:
    """For each result its number of classes, and those that not all have."""
    shared = set(results[0].classes).intersection(*(r.classes for r in results[1:]))
    shown = []
    for result in results:
        own = [name for name in result.classes if name not in shared]
        words = f"{len(result.classes)}"
        if own:
            words += f", with {first_few(own)}"
        elif all(set(r.classes) == shared for r in results):
            words += f" in the order {first_few(result.classes)}"
        shown.append(words)
    return shown


def _common_images(results: Sequence[Result]) -> tuple[list[str], str]:
    """The images that all have, and a description if some have others."""
    shared = set(results[0].images).intersection(*(r.images for r in results[1:]))
    if not shared:
        return [], listed("no image in common, such as", results, [r.images[0] for r in results])
    words = []
    for result in results:
        own = [name for name in result.images if name not in shared]
        if own:
            words.append(f"{result.name}: {len(own)} of {len(result.images)} that not all have, "
                         f"such as {first_few(own, 2)}")  # fmt: skip
    text = f"images ({'; '.join(words)}), --common compares the {len(shared)} that all have"
    return [name for name in results[0].images if name in shared], text if words else ""


def _with_variants(result: Result, variants: Sequence[Any]) -> Result:
    """Only these modes or bounds."""
    rows = [result.variants.index(v) for v in variants]
    key, kind = ("counts", "modes") if result.task == "edge" else ("boundary", "bounds")
    counts = result.counts | {key: result.counts[key][:, rows]}
    return replace(result, counts=counts, protocol=result.protocol | {kind: list(variants)})


def _require_same_truth(results: Sequence[Result]) -> None:
    """InputError unless each image has the same number of true pixels of each class in all."""
    first = results[0]
    variants = range(len(first.variants)) if first.task == "edge" else [0]
    for other in results[1:]:
        for variant in variants:
            ours, theirs = true_pixels(first, variant), true_pixels(other, variant)
            if (ours == theirs).all():
                continue
            image, k = np.argwhere(ours != theirs)[0]
            images = int((ours != theirs).any(axis=1).sum())
            raise InputError(
                f"the results cannot be compared: the ground truth of {counted(images, 'image')} "
                f"differs, such as {first.images[image]}, class {first.classes[k]}: "
                f"{ours[image, k]} true pixels for {first.name} and {theirs[image, k]} for "
                f"{other.name}; score both against the same labels"
            )
