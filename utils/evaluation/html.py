"""A page of results in one file: tables that sort, plots as SVG, images embedded; nothing is fetched from anywhere.

This module knows HTML and no metric; `utils.evaluation.edges.report` fills it.
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


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a plot. points: float (P, 2) of x, y. mark: a point to emphasise. key: ties it to table rows."""

    key: str
    name: str
    color: str
    points: np.ndarray
    mark: tuple[float, float] | None = None


def write_page(path: Path, title: str, lead: str, sections: Sequence[str]) -> None:
    """Write the page: a title, a line below it and sections of HTML."""
    style, script = (
        Path(__file__).with_suffix(ending).read_text(encoding="utf-8") for ending in (".css", ".js")
    )
    # The policy lets the page load nothing but itself, so that it looks the same on any machine, for ever.
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
        aside.write_text(page, encoding="utf-8")


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def facts(values: Mapping[str, object]) -> str:
    """Names and values, as a list that wraps."""
    shown = {name.replace("_", " "): _word(value) for name, value in values.items()}
    return f"<dl>{''.join(f'<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>' for k, v in shown.items())}</dl>"


def cards(pairs: Sequence[tuple[str, str]]) -> str:
    """The few figures that matter most, large."""
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
    """A table that sorts by a click on its header. colors: of each row's swatch. bar: the column with bars."""
    head = "".join(
        f"<th scope=col tabindex=0 aria-sort=none>{escape(cell)}</th>" for cell in header
    )
    body = "".join(
        f'<tr data-key="{escape(row[0])}">{"".join(_cell(i, cell, color, i == bar) for i, cell in enumerate(row))}</tr>'
        for row, color in zip(rows, colors, strict=True)
    )
    last = "".join(f"<td>{escape(cell)}</td>" for cell in foot)
    parts = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot><tr>{last}</tr></tfoot>"
    return f"<div class=wide><table>{parts}</table></div>"


def _cell(column: int, text: str, color: str, bar: bool) -> str:
    if column == 0:
        return f'<th scope=row><i style="background:{color}"></i>{escape(text)}</th>'
    filled = bar and text.replace(".", "").isdigit()
    width = f' class=bar style="--share:{text}%"' if filled else ""
    return f"<td{width}>{escape(text)}</td>"


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, below: str = "") -> str:
    """Curves over the unit square as SVG. below: SVG that lies under the curves, such as lines of equal F."""
    ticks = "".join(_tick(i / 5) for i in range(6))
    curves = "".join(_curve(line) for line in lines)
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="-46 -14 474 460" role=img aria-label="{escape(title)}">'
        f"<rect width=400 height=400 class=frame />{ticks}{below}{curves}"
        f"<text x=200 y=438 class=axis>{escape(x_name)}</text>"
        f'<text x=-200 y=-34 class=axis transform="rotate(-90)">{escape(y_name)}</text></svg></figure>'
    )


def at(x: float, y: float) -> str:
    """A point of the unit square in the coordinates of the SVG."""
    return f"{400 * x:.1f},{400 * (1 - y):.1f}"


def _tick(value: float) -> str:
    place, shown = 400 * value, f"{value:g}"
    return (
        f'<path class=grid d="M0 {400 - place}H400M{place} 0V400"/>'
        f"<text x={place} y=416 class=tick>{shown}</text>"
        f'<text x=-8 y={404 - place} class="tick left">{shown}</text>'
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
    """Images beside each other, each uint8 (H, W, 3) RGB with its caption; None is left out. columns: 0 = as many as fit."""
    shown = "".join(
        f'<figure><img alt="{escape(caption)}" src="{embed(image)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, image in images
        if image is not None
    )
    style = f' style="grid-template-columns:repeat({columns},1fr)"' if columns else ""
    return f"<h3>{escape(title)}</h3><div class=row{style}>{shown}</div>"


def embed(image: np.ndarray) -> str:
    """uint8 (H, W, 3) RGB -> a data URL, LONG_SIDE pixels at most; PNG, or JPEG where that is much smaller."""
    scale = LONG_SIDE / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(n * scale)) for n in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    png, jpeg = (
        cv2.imencode(".png", bgr)[1],
        cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1],
    )
    kind, encoded = ("png", png) if len(png) < 1.5 * len(jpeg) else ("jpeg", jpeg)
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def hex_color(rgb: np.ndarray) -> str:
    """uint8 (3,) -> "#rrggbb"."""
    return "#" + bytes(np.asarray(rgb, np.uint8)).hex()


def _word(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
