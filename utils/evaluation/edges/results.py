"""The results that one pass over the images gives, and what is printed and written of each.

A result is a variant of the scores at a tolerance. A single one lies in --out itself; of several
each has a folder of its own in it, complete: `max-dist-0.02`, `max-dist-3px`; `hard`, `soft`; or
`hard/max-dist-0.02` and so on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from data.errors import InputError
from utils.evaluation.edges.derived import SOFT
from utils.evaluation.edges.examples import EdgeExample
from utils.evaluation.edges.image_counts import CALIBRATION, COUNTS, CRISPNESS, Record
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.quality.calibration import score_calibration
from utils.evaluation.edges.quality.crispness import score_crispness
from utils.evaluation.edges.quality.tables import Quality, format_quality
from utils.evaluation.edges.quality.temperature import fit_temperatures
from utils.evaluation.edges.report import write_edge_report
from utils.evaluation.edges.run import write_edge_results
from utils.evaluation.edges.scores import FIGURES, ModeScores, score_modes
from utils.evaluation.edges.tables import format_table
from utils.evaluation.out_dir import require_out_dir
from utils.evaluation.text_tables import align_columns, percent


class VariantSource(Protocol):
    """What a result takes of a source of scores, see `sources`."""

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the scores that each image has."""
        ...

    @property
    def binary(self) -> frozenset[str]:
        """Those of the variants that hold nothing but edge or no edge."""
        ...


@dataclass(frozen=True, slots=True)
class EdgeResult:
    """One of the results of a pass.

    Args:
        variant: Of the scores.
        binary: Whether these hold nothing but edge or no edge.
        protocol: With the tolerance.
        place: Indices of the variant and the tolerance in the records.
        folder: Where its files lie.
        heading: What tells it apart from the others of the pass; "" if it is the only one.
    """

    variant: str
    binary: bool
    protocol: EdgeProtocol
    place: tuple[int, int]
    folder: Path
    heading: str

    @property
    def takes_temperature(self) -> bool:
        """Whether it has probabilities of edges; predict.py has none of a softmax's outlines."""
        return not self.binary and self.variant != SOFT


@dataclass(frozen=True, slots=True)
class ScoredResult:
    """A result with its record, entries (images, ...), the scores of its modes, and the rest."""

    result: EdgeResult
    record: Record
    modes: list[ModeScores]
    quality: Quality

    def format_tables(self) -> str:
        """The table of each mode for the terminal, and of what else was measured."""
        behind = self.result.heading and f", {self.result.heading}"
        tables = [f"\n{mode.mode}{behind}\n{format_table(mode)}" for mode in self.modes]
        return "\n".join(filter(None, [*tables, format_quality(self.quality)]))


def edge_results(
    out: Path, source: VariantSource, protocols: Sequence[EdgeProtocol]
) -> list[EdgeResult]:
    """Every variant of the source at every tolerance.

    Args:
        out: The folder that the results lie in, or of the only one.
        source: Names the variants.
        protocols: Equal but for their tolerance.
    """
    results = []
    for v, variant in enumerate(source.variants):
        for p, protocol in enumerate(protocols):
            folder, heading = out, []
            if len(source.variants) > 1:
                folder /= variant
                heading.append(variant)
            if len(protocols) > 1:
                folder /= f"max-dist-{protocol.tolerance}"
                heading.append(f"max-dist {protocol.tolerance}")
            binary = variant in source.binary
            results.append(
                EdgeResult(variant, binary, protocol, (v, p), folder, ", ".join(heading))
            )
    return results


def require_temperature(results: Sequence[EdgeResult]) -> None:
    """InputError if none of the results can have a temperature."""
    if not any(result.takes_temperature for result in results):
        raise InputError(
            "--fit-temperature: a temperature needs probabilities of edges, and these predictions "
            "are edge or none, or made of the probabilities of classes"
        )


def require_result_folders(results: Sequence[EdgeResult]) -> None:
    """InputError unless every result can be written, see `require_out_dir`."""
    for result in results:
        require_out_dir(result.folder, ())


def score_result(
    result: EdgeResult, records: Record, classes: Sequence[str], fit: str | None = None
) -> ScoredResult:
    """Score one of the results.

    Args:
        result: Which one.
        records: Of all images, entries (images, V, ...).
        classes: Names of the K classes.
        fit: Fit a temperature for "all" classes, or one for each "class", too; None: none.
    """
    v, p = result.place
    record = {name: entry[:, v] for name, entry in records.items()}
    record[COUNTS] = record[COUNTS][:, p]
    modes = score_modes(record[COUNTS], classes, result.protocol, binary=result.binary)
    fit = fit if result.takes_temperature else None
    return ScoredResult(result, record, modes, _quality(record, classes, modes, fit))


def _quality(
    record: Record, classes: Sequence[str], modes: Sequence[ModeScores], fit: str | None
) -> Quality:
    crispness = calibration = temperature = None
    if CRISPNESS in record:
        crispness = score_crispness(record[CRISPNESS], classes)
    if CALIBRATION in record:
        binary = any(mode.binary for mode in modes)
        calibration = score_calibration(record[CALIBRATION], classes, binary=binary)
        if fit:
            temperature = fit_temperatures(calibration, each=fit == "class")
    return Quality(tuple(classes), crispness, calibration, temperature)


def write_result(
    scored: ScoredResult, origin: Mapping[str, object], image_names: Sequence[str]
) -> None:
    """Write the files of a result but for its report.

    Args:
        scored: The result.
        origin: What was scored against what, for all results of the pass.
        image_names: In the order of the records.
    """
    result = scored.result
    write_edge_results(
        result.folder,
        scored.modes,
        scored.record,
        result.protocol,
        _own_origin(result, origin),
        image_names,
        scored.quality,
    )


def report_result(
    scored: ScoredResult,
    origin: Mapping[str, object],
    palette: np.ndarray,
    *,
    load_example: Callable[[int], EdgeExample],
    images: int,
) -> None:
    """Write `report.html` of a result; arguments as of `write_result` and `write_edge_report`."""
    result = scored.result
    write_edge_report(
        result.folder,
        scored.modes,
        scored.record[COUNTS],
        result.protocol,
        _own_origin(result, origin),
        palette,
        load_example=load_example,
        images=images,
        quality=scored.quality,
    )


def _own_origin(result: EdgeResult, origin: Mapping[str, object]) -> dict[str, object]:
    return {**origin, "variant": result.variant} if result.variant else dict(origin)


def format_overview(scored: Sequence[ScoredResult], out: Path) -> str:
    """The last lines on the terminal: where the scores lie, and a row of means for each of several.

    Then each file of a temperature, which predict.py --temperature takes.

    out: The folder of all results.
    """
    where = f"\nscores: {out}"
    fitted = [each.result.folder for each in scored if each.quality.temperature]
    files = "".join(f"\ntemperature: {folder / 'temperature.json'}" for folder in fitted)
    if len(scored) == 1:
        return where + files
    modes = [mode.mode for mode in scored[0].modes]
    header = ("mean", *(f"{mode} {figure.upper()}" for mode in modes for figure in FIGURES))
    rows = [
        (
            each.result.folder.relative_to(out).as_posix(),
            *(percent(mode.mean(figure)) for mode in each.modes for figure in FIGURES),
        )
        for each in scored
    ]
    return f"\n{align_columns([header, *rows])}\n{where}, a folder for each row{files}"
