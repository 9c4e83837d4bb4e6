"""Precision over recall of several results, a small plot for each class, on one scale."""

from collections.abc import Sequence
from html import escape

import numpy as np

from utils.compare.measures import images_with_class
from utils.compare.results import Result
from utils.edge_metrics import Summary, default_thresholds, summarize
from utils.evaluation.html import Line, plot
from utils.evaluation.report_parts import iso_f_lines


def curve_plots(results: Sequence[Result], mode: int, colors: Sequence[str]) -> str:
    """HTML: mean F over threshold, and precision over recall of each class with ground truth."""
    first = results[0]
    counted = [k for k in range(len(first.classes)) if images_with_class(first, mode, k)]
    summaries = [[_summary(result, mode, k) for k in counted] for result in results]
    plots = [_mean_plot(results, summaries, colors)] if counted else []
    for place, k in enumerate(counted):
        lines = [
            _curve(result, mode, summary[place], color)
            for result, summary, color in zip(results, summaries, colors, strict=True)
        ]
        plots.append(plot(first.classes[k], "recall", "precision", lines, below=iso_f_lines()))
    return f"{legend(results, colors)}<div class=plots>{''.join(plots)}</div>"


def legend(results: Sequence[Result], colors: Sequence[str]) -> str:
    """HTML: which colour is which result."""
    names = (
        f'<span data-key="{escape(result.name)}"><i style="background:{color}"></i>'
        f"{escape(result.name)}</span>"
        for result, color in zip(results, colors, strict=True)
    )
    return f"<p class=legend>{' '.join(names)}</p>"


def _summary(result: Result, mode: int, k: int) -> Summary:
    ap = result.protocol.get("ap", "first")
    return summarize(result.counts["counts"][:, mode, k], ap=ap)


def _curve(result: Result, mode: int, summary: Summary, color: str) -> Line:
    """Of binary predictions, which have no curve, the point alone."""
    ods, name = summary.ods, result.name
    title = f"{name}: F {100 * ods.f:.1f}"
    if result.is_binary(result.variants[mode]):
        return Line(name, title, color, np.empty((0, 2)), (ods.recall, ods.precision))
    predicted = summary.curve[:, 1:3].any(axis=1)  # elsewhere there is no precision to show
    points = summary.curve[predicted][:, 1:3]
    return Line(name, f"{title} at {ods.threshold:.2f}", color, points, (ods.recall, ods.precision))


def _mean_plot(
    results: Sequence[Result], summaries: Sequence[Sequence[Summary]], colors: Sequence[str]
) -> str:
    """F at each threshold, the mean over the classes; its best point is no mean of MF (ODS)."""
    thresholds = default_thresholds(len(summaries[0][0].curve))
    lines = []
    for result, found, color in zip(results, summaries, colors, strict=True):
        f = np.mean([each.curve[:, 3] for each in found], axis=0)
        lines.append(Line(result.name, result.name, color, np.stack([thresholds, f], axis=1)))
    return plot("Mean F of the classes at one threshold for all", "threshold", "F", lines)
