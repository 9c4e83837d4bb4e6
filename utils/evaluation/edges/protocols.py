"""The published ways to score semantic edges, as a table of knobs that flags override.

A score says nothing without its knobs: the tolerance alone moves it by many points. So an
`EdgeProtocol` goes with every score to the terminal, `metrics.json` and the report.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from data.errors import InputError
from data.files import first_few

MODES = ("thin", "raw")
MAX_PIXELS_APART = 10_000
SHOWN_CLASSES = 8  # that one line names
LATER_KNOBS = ("max_dist_px", "classes")  # stand in `metrics.json` only where they are set


class Tolerance(NamedTuple):
    """How far a match may lie: in pixels, or as a fraction of the diagonal."""

    value: float
    pixels: bool = False


@dataclass(frozen=True, slots=True)
class EdgeProtocol:
    """How predicted edges are compared with true ones.

    Args:
        name: Of the published protocol that it starts from.
        max_dist: How far a match may lie, as a fraction of the image's diagonal; None: see
            `max_dist_px`.
        scale: Size of the ground truth that a data set makes, relative to its labels; None: it
            is read from files, as they are.
        margin: Pixels cropped off on all four sides.
        thresholds: Number of thresholds, evenly spaced inside (0, 1).
        thin: Score thinned predictions against ground truth one pixel wide.
        raw: Score predictions as they are against thick ground truth.
        instance: The borders between two instances of one class are edges too; None: the files
            of the ground truth leave no choice.
        skip_absent: An image without a class says nothing about that class; else its false
            positives count.
        kill_internal: Predicted pixels inside the class's region, out of reach of any true edge,
            are removed.
        ap: Which of several points of equal recall the average precision keeps: "first" as current
            MATLAB does, or "last".
        max_dist_px: How far a match may lie, in pixels of the ground truth as it is scored; in
            place of `max_dist`.
        classes: Names of the classes that are scored; None: all.
    """

    name: str
    max_dist: float | None
    scale: float | None = 1.0
    margin: int = 0
    thresholds: int = 99
    thin: bool = True
    raw: bool = True
    instance: bool | None = True
    skip_absent: bool = False
    kill_internal: bool = False
    ap: str = "first"
    max_dist_px: float | None = None
    classes: tuple[str, ...] | None = None

    @property
    def modes(self) -> tuple[str, ...]:
        """The chosen ones of MODES, in their order."""
        return tuple(mode for mode in MODES if getattr(self, mode))

    @property
    def tolerance(self) -> str:
        """How far a match may lie, as the flag takes it: "0.02", or "3px"."""
        if self.max_dist_px is not None:
            return f"{_digits(self.max_dist_px)}px"
        assert self.max_dist is not None, "one of the two is set: see _check"
        return _digits(self.max_dist)

    def reach(self, size: tuple[int, int]) -> float:
        """How far a match may lie, as a fraction of the diagonal of a map of that size (h, w).

        The size is the file's or the data set's, before `margin` is cropped off.
        """
        if self.max_dist_px is None:
            assert self.max_dist is not None, "one of the two is set: see _check"
            return self.max_dist
        # Squared distances of pixels are whole numbers. Half-way to the next one the disk is the
        # same, and no rounding on the way to a fraction and back can change it.
        radius = math.sqrt(math.floor(self.max_dist_px**2) + 0.5)
        height, width = (side - 2 * self.margin for side in size)
        return radius / math.hypot(height, width)

    def knobs(self) -> dict[str, str | float | int | bool | list[str] | None]:
        """Every knob by name, in plain types; None for those that have no effect.

        Those of LATER_KNOBS are left out where they are not set.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.classes is not None:
            values["classes"] = list(self.classes)
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in LATER_KNOBS
        }

    def describe(self, size: str = "") -> str:
        """The knobs in one line, as printed beside every table of scores.

        size: of the ground truth's files, to be printed where they decide it.
        """
        as_files = "truth as in the files" + (f" ({size})" if size else "")
        shown = [
            f"max-dist {self.tolerance}",
            f"{self.thresholds} thresholds",
            as_files if self.scale is None else f"scale {self.scale:g}",
            f"margin {self.margin} px",
        ]
        if self.instance is not None:
            shown.append("instance-sensitive" if self.instance else "class edges only")
        shown += ["images without the class skipped"] if self.skip_absent else []
        shown += ["false positives inside objects not counted"] if self.kill_internal else []
        if self.classes is not None:
            which = "class" if len(self.classes) == 1 else f"{len(self.classes)} classes"
            shown.append(f"only the {which} {first_few(self.classes, SHOWN_CLASSES)}")
        return f"protocol {self.name}: " + ", ".join([*shown, f"AP of the {self.ap} equal recall"])


# The half resolution of the Cityscapes protocols also serves our other street scenes. Anybody's own
# data may be small, or of structures a few pixels wide, which halving would drop. Sources: the
# evaluations of SEAL (Yu et al., ECCV 2018), DFF (Hu et al., IJCAI 2019), SBD (Hariharan et al.,
# ICCV 2011) and BSDS500 (Arbelaez et al., TPAMI 2011).
STREET = "street"
_TABLE = {
    ("dff", STREET): EdgeProtocol("dff", max_dist=0.02, scale=0.5),
    ("dff", "sbd"): EdgeProtocol("dff", max_dist=0.02, margin=5),
    ("dff", "folder"): EdgeProtocol("dff", max_dist=0.02),
    ("seal", STREET): EdgeProtocol("seal", max_dist=0.0035, scale=0.5),
    ("seal", "folder"): EdgeProtocol("seal", max_dist=0.0035),
    # Meant for SEAL's re-annotated test images.
    ("seal", "sbd"): EdgeProtocol("seal", max_dist=0.0075, margin=5),
    ("sbd2011", STREET): EdgeProtocol(
        "sbd2011",
        max_dist=0.02,
        raw=False,
        instance=False,
        skip_absent=True,
        kill_internal=True,
        ap="last",
    ),
    ("bsds", STREET): EdgeProtocol("bsds", max_dist=0.0075, raw=False, instance=False, ap="last"),
}
PROTOCOLS = tuple(dict.fromkeys(name for name, _ in _TABLE))


def find_protocol(
    name: str, dataset: str = "", **changes: float | int | bool | str | None
) -> EdgeProtocol:
    """The protocol of that name for a data set, with the knobs of `changes` that are not None.

    A data set without an entry of its own is taken for street scenes. Raises InputError for an
    unknown name and for knobs that contradict each other.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}; expected one of {', '.join(PROTOCOLS)}")
    base = _TABLE.get((name, dataset), _TABLE[name, STREET])
    chosen = {knob: value for knob, value in changes.items() if value is not None}
    if "max_dist_px" in chosen and "max_dist" not in chosen:
        base = replace(base, max_dist=None)
    protocol = replace(base, **chosen)
    _check(protocol)
    return protocol


def with_tolerances(
    protocol: EdgeProtocol, tolerances: Sequence[Tolerance] | None
) -> tuple[EdgeProtocol, ...]:
    """The protocol with each of the tolerances in turn; None: with its own.

    Raises InputError for a tolerance out of range, or one that is given twice.
    """
    if tolerances is None:
        return (protocol,)
    protocols = tuple(
        replace(
            protocol,
            max_dist=None if pixels else value,
            max_dist_px=value if pixels else None,
        )
        for value, pixels in tolerances
    )
    for i, each in enumerate(protocols):
        _check(each)
        if each in protocols[:i]:
            raise InputError(f"--max-dist {each.tolerance} is given twice; leave one out")
    return protocols


def same_tolerances(
    protocol: EdgeProtocol,
    others: Sequence[EdgeProtocol],
    classes: tuple[str, ...] | None = None,
) -> tuple[EdgeProtocol, ...]:
    """The protocol with the tolerance of each of `others`.

    classes: names of those that are scored; None: all.
    """
    return tuple(
        replace(protocol, max_dist=each.max_dist, max_dist_px=each.max_dist_px, classes=classes)
        for each in others
    )


def _check(protocol: EdgeProtocol) -> None:
    """Raise InputError, which names the flag, for a knob out of range."""
    if not protocol.modes:
        raise InputError("nothing to score: both --no-thin and --no-raw are given")
    if (protocol.max_dist is None) == (protocol.max_dist_px is None):
        raise InputError("--max-dist is wanted either as a fraction or in pixels")
    if protocol.max_dist is not None and not 0 < protocol.max_dist < 1:
        raise InputError(
            f"--max-dist is {protocol.max_dist:g}; expected a fraction of the diagonal between "
            "0 and 1"
        )
    if protocol.max_dist_px is not None and not 0 <= protocol.max_dist_px <= MAX_PIXELS_APART:
        raise InputError(
            f"--max-dist is {protocol.max_dist_px:g}px; expected 0px to {MAX_PIXELS_APART}px"
        )
    if protocol.scale is not None and not 0 < protocol.scale <= 1:
        raise InputError(
            f"--eval-scale is {protocol.scale:g}; expected a factor above 0, at most 1"
        )
    if protocol.thresholds < 1:
        raise InputError(f"--thresholds is {protocol.thresholds}; expected at least 1")
    if protocol.margin < 0:
        raise InputError(f"--margin is {protocol.margin}; expected 0 or more pixels")
    if protocol.kill_internal and protocol.raw:
        raise InputError("--kill-internal is defined for thinned predictions only: add --no-raw")
    if protocol.ap not in ("first", "last"):
        raise InputError(f"--ap is {protocol.ap!r}; expected first or last")


def _digits(value: float) -> str:
    """A number as short as it can be without becoming another."""
    return short if float(short := f"{value:g}") == value else repr(value)
