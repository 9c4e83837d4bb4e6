"""What `metrics.json` says, in the words of a reader: names of knobs, and their values."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from utils.compare.results import Result

LONGEST = 60  # characters of a value in a message
MAX_DISTANCE = "max. distance"
# Knobs that change no score: names, what else was measured, and what is looked at by itself.
NO_KNOBS = {"name", "modes", "bounds", "classes", "thin", "raw", "crisp", "calibration"}
UNSTATED = object()


def counted(count: int, what: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {what}{'s' * (count != 1)}"


def knobs_of(result: Result) -> dict[str, Any]:
    """The knobs of its protocol by their names for a reader; the two of the distance are one."""
    variants = {str(variant) for variant in result.variants}  # a mode is also a knob, on or off
    known = {k: v for k, v in result.protocol.items() if k not in NO_KNOBS and k not in variants}
    found = {name_of(knob): value for knob, value in known.items() if knob != "max_dist_px"}
    if known.get("max_dist_px") is not None:
        found[MAX_DISTANCE] = f"{word(known['max_dist_px'])} px"
    return found


def name_of(knob: str) -> str:
    """A knob's name for a reader."""
    return MAX_DISTANCE if knob == "max_dist" else knob.replace("_", " ")


def differ(values: Sequence[Any]) -> bool:
    """Whether values are not all equal. A missing one is as null: the knob has no effect."""
    known = [None if value is UNSTATED else value for value in values]
    return any(value != known[0] for value in known)


def listed(name: str, results: Sequence[Result], values: Sequence[Any]) -> str:
    """ "NAME (A: value, B: value)"."""
    shown = [f"{r.name}: {word(v)}" for r, v in zip(results, values, strict=True)]
    return f"{name} ({', '.join(shown)})"


def word(value: Any) -> str:
    """A plain value as a reader who does not know Python expects it, not too long."""
    if value is UNSTATED:
        return "not stated"
    text = _word(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if isinstance(value, float):  # as short as it can be without becoming another
        return short if float(short := f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return " ".join(map(_word, value))
    if isinstance(value, Mapping):
        return json.dumps(value)
    text = str(value)
    return text if text.isprintable() else ascii(text)  # of a damaged file
