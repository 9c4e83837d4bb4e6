"""Fitting the temperature of probabilities, and its file: see `utils.inference.temperature`."""

from collections.abc import Mapping
from dataclasses import dataclass

from data.errors import InputError
from utils.edge_metrics.calibration import COLDEST, HOTTEST, TRUE, Fit, fit
from utils.evaluation.edges.quality.calibration import CalibrationScores


@dataclass(frozen=True, slots=True)
class FittedTemperature:
    """The temperature of all classes together and, if asked for, of each.

    Args:
        common: Over the classes that occur in the ground truth.
        own: By the index of a class that occurs; None if it was not asked for.
        names: Of all classes.
    """

    common: Fit
    own: dict[int, Fit] | None
    names: tuple[str, ...]

    def describe(self) -> str:
        """One line for the terminal, and one more for each temperature that is no minimum."""
        nll, ece = self.common.nll, self.common.ece
        lines = [
            f"temperature {self.common.temperature:g}: NLL {nll[0]:.5f} -> {nll[1]:.5f}, "
            f"mean ECE {100 * ece[0]:.2f} -> {100 * ece[1]:.2f} %"
        ]
        if self.own:
            each = [found.temperature for found in self.own.values()]
            lines.append(f"temperatures of the classes: {min(each):g} to {max(each):g}")
        fits = {"all classes": self.common}
        fits |= {self.names[k]: found for k, found in (self.own or {}).items()}
        lines += [
            f"note: the temperature of {name} is {found.temperature:g}, the end of what is tried "
            f"({COLDEST:g} to {HOTTEST:g}): its probabilities say little"
            for name, found in fits.items()
            if found.at_bound
        ]
        return "\n".join(lines)

    def to_plain(self, source: Mapping[str, object]) -> dict[str, object]:
        """The contents of `temperature.json`. source: what was scored against what, and how."""
        classes = None
        if self.own is not None:
            classes = [self._plain_class(k, name) for k, name in enumerate(self.names)]
        return {
            "temperature": self.common.temperature,
            "classes": classes,
            "fit": {**_plain_fit(self.common), **source},
        }

    def _plain_class(self, k: int, name: str) -> dict[str, object]:
        found = (self.own or {}).get(k)
        if found is None:
            return {"name": name, "temperature": None}
        return {"name": name, "temperature": found.temperature, **_plain_fit(found)}


def fit_temperatures(scores: CalibrationScores, *, each: bool) -> FittedTemperature:
    """Fit the temperature of predictions. each: one for each class, too.

    InputError where there is nothing to fit it on.
    """
    counted = scores.counted
    if not counted:
        why = "predictions are binary" if scores.binary else "no class has ground truth"
        raise InputError(f"--fit-temperature: {why}, so there is nothing to fit it on")
    common = fit(scores.counts[counted])
    own = None
    if each:
        # A class whose every pixel is an edge has no temperature.
        own = {k: fit(scores.counts[k]) for k in counted if _has_both(scores, k)}
    return FittedTemperature(common, own, scores.names)


def _has_both(scores: CalibrationScores, k: int) -> bool:
    pixels, true = scores.counts[k, :, 0].sum(), scores.counts[k, :, TRUE].sum()
    return bool(0 < true < pixels)


def _plain_fit(found: Fit) -> dict[str, object]:
    return {
        name: {"before": before, "after": after}
        for name, (before, after) in (("nll", found.nll), ("ece", found.ece))
    }
