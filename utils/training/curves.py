"""Learning curves from a run's log, without any service.

python -m utils.curves runs/camvid/deeplabv3plus-resnet18/base
python -m utils.curves runs/camvid/deeplabv3plus-resnet18/base/log.jsonl --out base.png
"""

from pathlib import Path
from typing import Any

from data.errors import InputError, one_line
from data.files import write_aside
from utils.training.logger import read_log

LARGEST = 1e150  # matplotlib computes with squares of what it draws
Plot = tuple[str, list[tuple[str, list[float], list[float]]]]  # title; label, epochs, values
COLORS = ("#1f5fa8", "#d1622b")
# Title, and label, kind and key of each curve.
PLOTS = (
    ("loss", (("training", "train", "loss"), ("validation", "val", "loss"))),
    ("loss of edges", (("validation", "val", "edge_loss"),)),
    ("MF (ODS)", (("validation", "val", "mf"),)),
    ("mIoU", (("validation", "val", "miou"),)),
    ("learning rate", (("learning rate", "train", "lr"),)),
    ("images per second", (("training", "train", "images_per_second"),)),
    ("share of time waiting for data", (("training", "train", "data_wait"),)),
)


def plot_curves(log: Path, out: Path) -> None:
    """Draw the numbers of a `log.jsonl` as a PNG, one plot for each of PLOTS.

    InputError if there is nothing to draw.
    """
    # Importing matplotlib takes as long as all other imports of train.py together.
    try:
        from matplotlib import rc_context, rcParamsDefault
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            f"curves need the package matplotlib: pip install matplotlib ({one_line(error)})"
        ) from error
    except ValueError as error:  # of a wrong MPLBACKEND
        raise InputError(
            f"matplotlib cannot be imported ({one_line(error)}); see the variable MPLBACKEND"
        ) from error

    entries = read_log(log)
    drawn: list[Plot] = [
        (title, [(label, *_series(entries, kind, key)) for label, kind, key in curves])
        for title, curves in PLOTS
    ]
    drawn = [(title, [curve for curve in curves if curve[1]]) for title, curves in drawn]
    drawn = [(title, curves) for title, curves in drawn if curves]
    if not drawn:
        raise InputError(
            f'{log}: no line like {{"kind": "train", "epoch": 0, "loss": 1.5}} in it to draw'
        )
    # Not as the user's matplotlibrc says, which may ask for LaTeX.
    own: Any = {key: value for key, value in rcParamsDefault.items() if key != "backend"}
    with rc_context(own):
        _draw(drawn, Figure, FigureCanvasAgg, out)


def _draw(drawn: list[Plot], figure_class: Any, canvas_class: Any, out: Path) -> None:
    """Write the plots as a PNG. The classes are matplotlib's, which is imported late."""
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = figure_class(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    places = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, (title, curves) in zip(places, drawn, strict=False):
        for place, (label, epochs, values) in enumerate(curves):
            mark = "o" if len(epochs) < 30 else ""
            axes.plot(epochs, values, label=label, color=COLORS[place], marker=mark, markersize=3)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        # With a shared axis only the last row has labels, and that one may be shorter.
        axes.tick_params(labelbottom=True)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axes.legend(frameon=False)
    for axes in places[len(drawn) :]:
        axes.remove()
    with write_aside(out) as aside:
        canvas_class(figure).print_figure(aside, format="png", dpi=120)


def _series(entries: list[dict], kind: str, key: str) -> tuple[list[float], list[float]]:
    """(epochs, values) of the entries of one kind that have a number to draw under `key`."""
    found = [
        (entry["epoch"], entry[key])
        for entry in entries
        if entry.get("kind") == kind and _can_be_drawn(entry.get("epoch"), entry.get(key))
    ]
    return [epoch for epoch, _ in found], [value for _, value in found]


def _can_be_drawn(*values: object) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
        for value in values
    )
