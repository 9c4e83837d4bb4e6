"""The numbers of a comparison as files.

`compare.json`, in fractions, null where there is no figure:

    task, classes, images   (the number)
    protocol        the knobs, the same for all results
    results         [{name, folder, source: of its metrics.json}, ...]
    baseline        the name of the result that differences are to
    bootstrap       {samples, level, seed}
    notes           what was left out, and the options of inference that differ
    comparisons     [{metric, variant: the mode or bound,
                      mean, classes: [{name, images: with the class, resamples: with a score,
                          results: [{name, score: {value, low, high},
                                     difference: {value, low, high}}, ...]}, ...]}, ...]
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.files import write_aside
from utils.compare.bootstrap import Comparison
from utils.compare.results import Result
from utils.compare.tables import csv_rows, plain
from utils.evaluation.text_tables import readable, write_csv_rows

FILES = ("compare.csv", "compare.json", "compare.html")


def write_numbers(
    folder: Path,
    comparisons: Sequence[Comparison],
    results: Sequence[Result],
    baseline: int,
    bootstrap: Mapping[str, float],
    notes: Sequence[str],
) -> None:
    """Write `compare.csv` and `compare.json`, each whole or not at all."""
    first = results[0]
    document = {
        "task": first.task,
        "classes": list(first.classes),
        "images": len(first.images),
        "protocol": first.protocol,
        "results": [
            {"name": readable(r.name), "folder": readable(str(r.folder)), "source": r.source}
            for r in results
        ],
        "baseline": readable(results[baseline].name),
        "bootstrap": dict(bootstrap),
        "notes": [readable(note) for note in notes],
        "comparisons": [plain(each, results) for each in comparisons],
    }
    write_csv_rows(folder / FILES[0], csv_rows(comparisons, results))
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with write_aside(folder / FILES[1]) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
