"""A page of results in one file: tables that sort, plots as SVG, images embedded.

The page fetches nothing from anywhere. This module knows HTML and no metric; the reports of the two
tasks call it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from data.files import write_aside

LONG_SIDE = 560  # pixels of an embedded image: as wide as three beside each other are shown
SIDE = 400  # of a plot, in the units of its SVG


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a plot.

    key: ties it to table rows. name: its tooltip. points: float (P, 2) of x, y in 0..1. mark: a
    point to emphasise.
    """

    key: str
    name: str
    color: str
    points: np.ndarray
    mark: tuple[float, float] | None = None


def write_page(path: Path, title: str, lead: str, sections: Sequence[str]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: Where to.
        title: Heading and title of the page.
        lead: The line below the heading.
        sections: HTML, see `section`.
    """
    style, script = (
        Path(__file__).with_suffix(ending).read_text(encoding="utf-8") for ending in (".css", ".js")
    )
    # The policy lets the page load nothing but itself, so that it looks the same on any machine,
    # now and later.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title><style>{style}</style></head>
<body><header><h1>{escape(title)}</h1><p>{escape(lead)}</p></header>
<main>{"".join(sections)}</main><script>{script}</script></body></html>
"""
    with write_aside(path) as aside:
        # Names of files that are no UTF-8 become escapes.
        aside.write_text(page, encoding="utf-8", errors="backslashreplace")


def section(title: str, *parts: str) -> str:
    """A box with a heading. parts: HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def facts(values: Mapping[str, object]) -> str:
    """Names and values, as a list that wraps."""
    pairs = []
    for name, value in values.items():
        name, shown = name.replace("_", " "), _in_words(value)
        pairs.append(f"<div><dt>{escape(name)}</dt><dd>{escape(shown)}</dd></div>")
    return f"<dl>{''.join(pairs)}</dl>"


def _in_words(value: object) -> str:
    """A plain value as a reader who does not know Python expects it."""
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return " ".join(map(_in_words, value))
    return str(value)


def cards(pairs: Sequence[tuple[str, str]]) -> str:
    """The few figures that matter most, large. pairs: name, value."""
    shown = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in pairs
    )
    return f"<div class=cards>{shown}</div>"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    colors: Sequence[str],
    *,
    bar: int,
    foot: Sequence[str],
) -> str:
    """A table that sorts by a click on its header, or Enter.

    Args:
        header: Names of the columns; the first one names the row.
        rows: Cells as text.
        colors: Of the swatch before each row's name, as CSS; "" for none.
        bar: Index of the column whose percentages are also drawn as bars.
        foot: The last row, which stays where it is.
    """
    head = "".join(
        f"<th scope=col tabindex=0 aria-sort=none>{escape(cell)}</th>" for cell in header
    )
    body = []
    for row, color in zip(rows, colors, strict=True):
        cells = "".join(_cell(i, cell, color, i == bar) for i, cell in enumerate(row))
        body.append(f'<tr data-key="{escape(row[0])}">{cells}</tr>')
    last = "".join(f"<td>{escape(cell)}</td>" for cell in foot)
    parts = (
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
        f"<tfoot><tr>{last}</tr></tfoot>"
    )
    return f"<div class=wide><table>{parts}</table></div>"


def _cell(column: int, text: str, color: str, bar: bool) -> str:
    if column == 0:
        swatch = f'<i style="background:{color}"></i>' if color else ""
        return f"<th scope=row>{swatch}{escape(text)}</th>"
    filled = bar and text.replace(".", "").isdigit()  # "-" has no bar
    width = f' class=bar style="--share:{text}%"' if filled else ""
    return f"<td{width}>{escape(text)}</td>"


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    """A small table that does not sort; the first row is its header."""
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:]
    )
    return f"<div class=wide><table><tbody><tr>{head}</tr>{body}</tbody></table></div>"


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, below: str = "") -> str:
    """Curves over the unit square as SVG.

    Args:
        title: Caption of the plot, and what a screen reader says for it.
        x_name: Label of the horizontal axis.
        y_name: Label of the vertical axis.
        lines: The curves.
        below: SVG that lies under the curves, such as lines of equal F.
    """
    ticks = "".join(_tick(i / 5) for i in range(6))
    curves = "".join(_curve(line) for line in lines)
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="-46 -14 474 460" role=img aria-label="{escape(title)}">'
        f"<rect width={SIDE} height={SIDE} class=frame />{ticks}{below}{curves}"
        f"<text x={SIDE // 2} y={SIDE + 38} class=axis>{escape(x_name)}</text>"
        f'<text x={-SIDE // 2} y=-34 class=axis transform="rotate(-90)">{escape(y_name)}</text>'
        "</svg></figure>"
    )


def at(x: float, y: float) -> str:
    """A point of the unit square in the coordinates of the SVG, whose y axis points down."""
    return f"{SIDE * x:.1f},{SIDE * (1 - y):.1f}"


def _tick(value: float) -> str:
    """The two grid lines at `value`, with their labels."""
    place, shown = SIDE * value, f"{value:g}"
    return (
        f'<path class=grid d="M0 {SIDE - place}H{SIDE}M{place} 0V{SIDE}"/>'
        f"<text x={place} y={SIDE + 16} class=tick>{shown}</text>"
        f'<text x=-8 y={SIDE + 4 - place} class="tick left">{shown}</text>'
    )


def _curve(line: Line) -> str:
    path = " ".join(at(x, y) for x, y in line.points)
    dot = ""
    if line.mark is not None:
        x, y = at(*line.mark).split(",")
        dot = f'<circle cx={x} cy={y} r=4 fill="{line.color}"/>'
    return (
        f'<g class=curve data-key="{escape(line.key)}"><title>{escape(line.name)}</title>'
        f'<polyline points="{path}" stroke="{line.color}"/>{dot}</g>'
    )


def image_row(
    title: str, images: Sequence[tuple[str, np.ndarray | None]], *, columns: int = 0
) -> str:
    """Images beside each other, each with its caption.

    Args:
        title: Heading of the row; with the caption it is an image's alternative text.
        images: Caption and uint8 (H, W, 3) RGB; None is left out.
        columns: Number of images beside each other; 0 = as many as fit.
    """
    shown = "".join(
        f'<figure><img alt="{escape(title)}; {escape(caption)}" src="{embed(image)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, image in images
        if image is not None
    )
    style = f' style="grid-template-columns:repeat({columns},1fr)"' if columns else ""
    return f"<h3>{escape(title)}</h3><div class=row{style}>{shown}</div>"


def embed(image: np.ndarray) -> str:
    """uint8 (H, W, 3) RGB -> a data URL of PNG, or JPEG where that is much smaller.

    Images above LONG_SIDE pixels are reduced to it.
    """
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    png = cv2.imencode(".png", bgr)[1]
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    # Drawings stay sharp as PNG; photographs are several times smaller as JPEG.
    kind, encoded = ("png", png) if len(png) < 1.5 * len(jpeg) else ("jpeg", jpeg)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def hex_color(rgb: np.ndarray) -> str:
    """uint8 (3,) -> "#rrggbb"."""
    return "#" + bytes(np.asarray(rgb, np.uint8)).hex()
