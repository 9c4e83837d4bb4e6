"""The options that nets were run with, which are no part of the protocol: they may differ.

Results may well be compared for that very reason, so it is said and not refused.
"""

from collections.abc import Sequence
from typing import Any

from data.files import first_few
from utils.compare.results import Result
from utils.compare.words import UNSTATED, differ, listed, word

# Of `source` in `metrics.json`: see `utils.inference.options`. Without `batch_size`, which changes
# no score but by rounding.
OPTIONS = {
    "base_size": "base size",
    "window": "window",
    "overlap": "overlap",
    "quirks": "quirks",
    "scales": "scales",
    "mirror": "mirror",
    "half": "precision",
    "temperature": "temperature",
    "engine": "engine",
}
USUAL = {"temperature": 1.0, "engine": "torch"}  # stated where they are not so
OF_WINDOWS = ("overlap", "quirks")  # without windows they have no effect


def option_notes(results: Sequence[Result]) -> list[str]:
    """What differs in how the results were made, a line, and which of them do not say it.

    Other nets and other checkpoints are what is compared, and are no such difference.
    """
    stating = [result for result in results if OPTIONS.keys() & result.source.keys()]
    found = [part for option in OPTIONS if (part := _difference(option, stating))]
    notes = []
    if found:
        notes.append(
            "made with different options, which are no part of the protocol: " + ", ".join(found)
        )
    silent = [result.name for result in results if result not in stating]
    if stating and silent:
        verb = "does" if len(silent) == 1 else "do"
        notes.append(f"{first_few(silent, 9)} {verb} not say with what options the net was run")
    return notes


def _difference(option: str, results: Sequence[Result]) -> str:
    """ "NAME (value of A, value of B)"; "" if there is none."""
    concerned = [r for r in results if option not in OF_WINDOWS or _has_windows(r)]
    values = [r.source.get(option, USUAL.get(option, UNSTATED)) for r in concerned]
    # Unlike a knob of the protocol, one that is not stated had some effect.
    if not differ(["" if value is UNSTATED else value for value in values]):
        return ""
    return listed(OPTIONS[option], concerned, [_shown(option, value) for value in values])


def _has_windows(result: Result) -> bool:
    return result.source.get("window", UNSTATED) is not None


def _shown(option: str, value: Any) -> Any:
    """A value in words of its own, if it has such."""
    if option == "half" and isinstance(value, bool):
        return "16 bits" if value else "32 bits"
    if option == "base_size" and value == 0:
        return "as the image is"
    if option == "temperature" and isinstance(value, list):
        return f"of each class {word(value)}"
    return value
