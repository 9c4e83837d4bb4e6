"""The files of polylines that predict.py leaves for an image."""

import os
from collections.abc import Mapping
from pathlib import Path

from data.files import resolved, write_aside
from utils.inference.drawing import Choice, DrawnEdges
from utils.model_info import ModelInfo
from utils.prediction.vector.formats import FORMATS, Sheet
from utils.prediction.vector.polylines import polylines


def write_vectors(
    files: Mapping[str, Path],
    drawn: DrawnEdges,
    info: ModelInfo,
    choice: Choice,
    source: Path | None = None,
) -> None:
    """Trace the edges of an image and write them.

    Args:
        files: name of a format -> file.
        drawn: the edges.
        info: classes and colours.
        choice: its style says how lines are simplified, and their width.
        source: the file of the image, which the files name; None: NAME.png beside themselves.
    """
    if not files:
        return
    style = choice.style
    lines = list(polylines(drawn.edges, drawn.prob, tolerance=style.simplify))
    size = (drawn.edges.shape[1], drawn.edges.shape[2])
    for form, path in files.items():
        image = path.with_suffix(".png").name if source is None else relative(source, path.parent)
        sheet = Sheet(lines, info, size, image, style.width_in(size[1]))
        with write_aside(path, sync=False) as aside:
            aside.write_text(FORMATS[form].text(sheet), encoding="utf-8")


def relative(path: Path, folder: Path) -> str:
    """The path from a folder, with slashes; the whole path where none leads there (Windows).

    An image that is a link keeps its own name.
    """
    path = resolved(path.parent) / path.name
    try:
        return Path(os.path.relpath(path, resolved(folder))).as_posix()
    except ValueError:  # another drive
        return path.as_posix()
