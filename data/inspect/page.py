"""The page: one file with everything in it, laid out from the verdict to the small print."""

from html import escape
from pathlib import Path

from data.files import write_aside
from data.inspect.finding import Finding, plural
from data.inspect.gradients import LONG_SIDE, NEAR
from data.inspect.measure import EDGE_RADIUS
from data.inspect.page_tables import classes_table, kinds_table, pixels_table, sizes_table
from data.inspect.page_thumbnails import contact_sheet, pair_sheet
from data.inspect.regions import MAX_GAP, SPECK_SHARE, WIDTH_SIDE
from data.inspect.report import Report
from data.inspect.suspects import LOW_SCORE
from data.inspect.table import verdict

FEW = 3  # names that are shown at once
# The page loads nothing but itself, so it looks the same on any machine, now and later.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_page(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    with write_aside(path) as aside:
        # Names of files that are no UTF-8 become escapes.
        aside.write_text(format_page(report), encoding="utf-8", errors="backslashreplace")


def format_page(report: Report) -> str:
    """The HTML of the page."""
    style, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("inspect.css", "inspect.js")
    )
    source = report.source
    title = f"{source.root.name or source.name}: what is in it"
    sections = [
        _section("verdict", "Verdict", _verdict(report)),
        _section("classes", "Classes", classes_table(report), pixels_table(report)),
        _section("images", "Images", sizes_table(report), kinds_table(report)),
        _section("twins", "The same image in two splits", pair_sheet(report)),
        _section("sheet", "Contact sheet", contact_sheet(report)),
        _section("definitions", "What the numbers mean", _definitions(report)),
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title><style>{style}</style></head>
<body data-view="both"><header><h1>{escape(title)}</h1><p>{escape(_lead(report))}</p></header>
<main>{"".join(sections)}</main><script>{script}</script></body></html>
"""


def _section(key: str, title: str, *parts: str) -> str:
    """A box with a heading, or nothing if it would be empty."""
    body = "".join(parts)
    return f"<section id={key}><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _lead(report: Report) -> str:
    source = report.source
    splits = ", ".join(
        f"{split.name} {split.images:,}"
        + (
            f" of {source.totals[split.name]:,}"
            if source.totals[split.name] != split.images
            else ""
        )
        for split in report.splits
    )
    classes = plural(len(source.classes), "class", "classes")
    return (
        f"Data set {source.name} at {source.root}. "
        f"{plural(report.total.images, 'image')} looked at ({splits}), {classes}."
    )


def _verdict(report: Report) -> str:
    good = "" if report.problems() else " class=good"
    rows = "".join(_finding(one) for one in report.findings)
    return f"<p id=count{good}>{escape(verdict(report.findings))}</p><ol>{rows}</ol>"


def _finding(one: Finding) -> str:
    kind = "problem" if one.is_problem else "look"
    names = "".join(f"<li>{escape(name)}</li>" for name in one.names)
    details = f"<details><summary>which</summary><ul>{names}</ul></details>" if names else ""
    return (
        f"<li class={kind}><b>{kind}</b><div><p>{escape(one.text)}</p>"
        f"<p class=advice>{escape(one.advice)}</p>{details}</div></li>"
    )


def _definitions(report: Report) -> str:
    counted = (
        "objects of the instance maps; where a class has none in an image, connected components "
        "(8 neighbours) of its pixels"
        if report.source.has_instances
        else "connected components (8 neighbours) of the class, as there are no instance maps: "
        "objects that touch count as one, an object that is cut in two counts as two"
    )
    entries = {
        "images": "that have at least one pixel of the class",
        "pixels": "share of all pixels of the label maps, those without a class included",
        "instances": counted,
        "width": "median in pixels: twice the distance to the nearest border of the class, or of "
        "the image, along the ridge half way between two borders, each point of which stands for "
        "as much area as the class is wide there. Half of the class's area is at most as wide. "
        f"Label maps above {WIDTH_SIDE} pixels are measured on every 2nd, 3rd, ... pixel",
        "edges": f"pixels of the training targets, both sides of an edge, at radius {EDGE_RADIUS}",
        "no class": "pixels that are none; ignored ones are among them, and have no edge",
        "speck": f"a connected part of a class, or of no class, of less than "
        f"{100 * SPECK_SHARE:g} % of the image's pixels; an island has one pixel",
        "score of a label's border": f"the share of its pixels with an image edge within {NEAR} "
        "pixels (a gradient above the image's own median), compared with the share of all pixels "
        "that have one, which is chance: (share - chance) / (1 - chance). 1 is perfect, 0 is "
        f"chance; below {LOW_SCORE} an image is suspect. Measured at {LONG_SIDE} pixels or less",
        "ends before the border": f"pixels of the image's border without a class, with a class 1 "
        f"to {MAX_GAP} pixels inside",
        "nearly the same": "by the perceptual hash phash of ImageHash, 64 bits: for each image the "
        "nearest one of each earlier split",
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}.</dd>" for k, v in entries.items())
    return f"<dl>{rows}</dl>"
