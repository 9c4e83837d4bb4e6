"""Compare results of test.py: a table by class, differences with bootstrap intervals, curves.

python -m utils.compare casenet-scores dff-scores --out comparison
"""

from data.errors import quiet_interrupts

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow

import argparse
import sys
from collections.abc import Sequence

from data.errors import InputError, run
from utils.compare.agreement import agree
from utils.compare.args import parse_args
from utils.compare.bootstrap import blocks, compare
from utils.compare.measures import DEFAULTS, MEASURES, Measure, require_own_counts
from utils.compare.report import write_report
from utils.compare.results import Result, read_result
from utils.compare.tables import (
    markdown_table,
    mean_rows,
    meaning_line,
    protocol_line,
    scored_by_any,
    table_rows,
    text_table,
    title_of,
)
from utils.compare.write import FILES, write_numbers
from utils.evaluation.out_dir import require_out_dir
from utils.progress import progress_bar


def main(args: argparse.Namespace) -> None:
    """Read, compare, print, and write what --out asks for."""
    if args.out is not None:
        require_out_dir(args.out, args.results, FILES)
    given = [read_result(path, name) for path, name in zip(args.results, args.names, strict=True)]
    for result in given:
        require_own_counts(result)
    results, notes = agree(given, common=args.common)
    say(notes)
    baseline = args.names.index(args.baseline)
    level = args.level / 100
    wanted = chosen(results, args.metric, args.bound)
    steps = len(wanted) * len(results[0].classes) * blocks(results[0], args.samples)
    with progress_bar(steps, show=True, unit="class") as bar:
        comparisons = compare(
            results,
            wanted,
            baseline=baseline,
            samples=args.samples,
            level=level,
            seed=args.seed,
            advance=bar.update,
        )
    shown, left_out = scored_by_any(comparisons)
    say(left_out)
    notes += left_out
    meaning = meaning_line(len(results[0].images), args.samples, level, args.seed)
    print(f"{protocol_line(results[0])}\n{meaning}")
    draw = markdown_table if args.markdown else text_table
    print(f"\n{draw('means of the classes', mean_rows(shown, results, baseline), foot=False)}")
    for each in shown if args.by_class else ():
        print(f"\n{draw(title_of(each), table_rows(each, results, baseline), foot=True)}")
    if args.out is not None:
        bootstrap = {"samples": args.samples, "level": level, "seed": args.seed}
        write_numbers(args.out, comparisons, results, baseline, bootstrap, notes)
        write_report(args.out / "compare.html", shown, results, baseline, meaning, notes)
        print(f"\ncomparison: {args.out}")


def say(notes: Sequence[str]) -> None:
    """Print notes, a line each."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def chosen(
    results: Sequence[Result], keys: Sequence[str] | None, bounds: Sequence[float] | None
) -> list[tuple[Measure, int]]:
    """The measures that were asked for, each with the index of its mode or bound.

    InputError for those of the other task, and for bounds that the results do not have.
    """
    first = results[0]
    measures = [MEASURES[key] for key in keys or DEFAULTS[first.task]]
    if wrong := [measure.key for measure in measures if measure.task != first.task]:
        own = [measure.key for measure in MEASURES.values() if measure.task == first.task]
        raise InputError(
            f"--metric {' '.join(wrong)}: the results are of the task {first.task}, which has "
            f"{', '.join(own)}"
        )
    shown = _chosen_variants(first, bounds)
    wanted = [
        (measure, variant)
        for variant in shown
        for measure in measures
        if measure.by_variant or variant == shown[0]
    ]
    if not any(m.scored(r, r.variants[v]) for m, v in wanted for r in results):
        raise InputError(
            f"--metric {' '.join(measure.key for measure in measures)}: every result is edge or no "
            "edge, without probabilities, and has none; compare ods or ois"
        )
    return wanted


def _chosen_variants(first: Result, bounds: Sequence[float] | None) -> list[int]:
    """Indices of the modes, or of the bounds that get a table."""
    if first.task == "edge":
        if bounds:
            raise InputError("--bound: is for results of segmentation; these are of edges")
        return [*range(len(first.variants))]
    if not bounds:
        pixels = [i for i, bound in enumerate(first.variants) if bound >= 1]
        return (pixels or [0])[:1]
    if lacking := [bound for bound in bounds if bound not in first.variants]:
        have = ", ".join(f"{bound:g}" for bound in first.variants)
        raise InputError(f"--bound {lacking[0]:g}: the results have {have}")
    return [first.variants.index(bound) for bound in bounds]


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
