"""The published ways to score semantic edges, as a table of knobs that flags override.

A score says nothing without its knobs: the tolerance alone moves it by many points. So an
`EdgeProtocol` goes with every score to the terminal, `metrics.json` and the report.
"""

from dataclasses import dataclass, fields, replace

from data.errors import InputError

MODES = ("thin", "raw")


@dataclass(frozen=True, slots=True)
class EdgeProtocol:
    """How predicted edges are compared with true ones.

    Args:
        name: Of the published protocol that it starts from.
        max_dist: How far a match may lie, as a fraction of the image's diagonal.
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
    """

    name: str
    max_dist: float
    scale: float | None = 1.0
    margin: int = 0
    thresholds: int = 99
    thin: bool = True
    raw: bool = True
    instance: bool | None = True
    skip_absent: bool = False
    kill_internal: bool = False
    ap: str = "first"

    @property
    def modes(self) -> tuple[str, ...]:
        """The chosen ones of MODES, in their order."""
        return tuple(mode for mode in MODES if getattr(self, mode))

    def knobs(self) -> dict[str, str | float | int | bool | None]:
        """Every knob by name, in plain types; None for those that have no effect."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def describe(self, size: str = "") -> str:
        """The knobs in one line, as printed beside every table of scores.

        size: of the ground truth's files, to be printed where they decide it.
        """
        as_files = "truth as in the files" + (f" ({size})" if size else "")
        shown = [
            f"max-dist {self.max_dist:g}",
            f"{self.thresholds} thresholds",
            as_files if self.scale is None else f"scale {self.scale:g}",
            f"margin {self.margin} px",
        ]
        if self.instance is not None:
            shown.append("instance-sensitive" if self.instance else "class edges only")
        shown += ["images without the class skipped"] if self.skip_absent else []
        shown += ["false positives inside objects not counted"] if self.kill_internal else []
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
    protocol = replace(base, **chosen)
    _check(protocol)
    return protocol


def _check(protocol: EdgeProtocol) -> None:
    """Raise InputError, which names the flag, for a knob out of range."""
    if not protocol.modes:
        raise InputError("nothing to score: both --no-thin and --no-raw are given")
    if not 0 < protocol.max_dist < 1:
        raise InputError(
            f"--max-dist is {protocol.max_dist:g}; expected a fraction of the diagonal between "
            "0 and 1"
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
