"""The tables of the page: classes, pixels without a class, sizes and kinds of images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from data.inspect.report import Report
from data.inspect.summary import SplitSummary
from data.inspect.table import percent

MAX_SIZES = 12  # rows of the table of sizes
COLUMNS = ("images", "pixels %", "instances", "width", "edges")


def classes_table(report: Report) -> str:
    """A row for each class, with a switch that shows and hides it in the contact sheet."""
    source, splits = report.source, report.splits
    groups = "".join(
        f"<th colspan={len(COLUMNS)} scope=colgroup>{escape(split.name)}</th>" for split in splits
    )
    heads = "".join(sortable(name) for _ in splits for name in COLUMNS)
    rows = []
    for k, name in enumerate(source.classes):
        cells = "".join(_class_cells(split, k, k < source.edge_classes) for split in splits)
        never = "" if report.total.classes[k].images else " class=never"
        rows.append(f"<tr{never}>{_class_head(report, k, name)}{cells}</tr>")
    return (
        "<div class=wide><table class=classes><thead>"
        f"<tr><td></td>{groups}</tr><tr>{sortable('class')}{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class_head(report: Report, k: int, name: str) -> str:
    color = css_color(report.source.palette[k].tolist())
    note = "" if k < report.source.edge_classes else " <small>no edges</small>"
    return (
        f'<th scope=row data-v="{escape(name)}"><label><input type=checkbox data-class={k} checked>'
        f'<i style="background:{color}"></i>{escape(name)}{note}</label></th>'
    )


def _class_cells(split: SplitSummary, k: int, has_edges: bool) -> str:
    counts = split.classes[k]
    share = split.share(k)
    if not split.labelled:
        return cell("-", start=True) + cell("-") * (len(COLUMNS) - 1)
    if not counts.images:
        return cell("0", 0, start=True) + cell("-") * (len(COLUMNS) - 1)
    width = counts.median_width()
    bar = f'class=bar style="--share:{min(share, 100):.2f}%" title="{counts.pixels:,} pixels"'
    return (
        cell(f"{counts.images:,}", counts.images, start=True)
        + f"<td {bar} data-v={share}>{percent(share)}</td>"
        + cell(f"{counts.instances:,}", counts.instances)
        + (cell("-") if width is None else cell(f"{width:,}", width))
        + (cell(f"{counts.edges:,}", counts.edges) if has_edges else cell("-"))
    )


def cell(text: str, value: float | None = None, *, start: bool = False) -> str:
    """A number; value: to sort by; start: the first one of a group of columns."""
    place = " class=start" if start else ""
    return f"<td{place}{'' if value is None else f' data-v={value}'}>{escape(text)}</td>"


def sortable(name: str) -> str:
    """The head of a column that sorts by a click or Enter."""
    return f"<th scope=col tabindex=0 aria-sort=none>{escape(name)}</th>"


def css_color(rgb: Sequence[int]) -> str:
    """(red, green, blue) -> "#rrggbb"."""
    return "#" + bytes(rgb).hex()


def pixels_table(report: Report) -> str:
    """Pixels without a class: none, ignored, and of values that dataset.json does not name."""
    rows = [("none", "none"), ("of these ignored", "ignored")]
    body = ""
    for name, attribute in rows:
        if attribute == "ignored" and not report.total.ignored:
            continue
        cells = "".join(_share(getattr(split, attribute), split.pixels) for split in report.splits)
        body += f"<tr><th scope=row>{name}</th>{cells}</tr>"
    if report.total.unnamed:
        cells = "".join(_share(split.unnamed.total(), split.pixels) for split in report.splits)
        body += f"<tr><th scope=row>of these not named</th>{cells}</tr>"
    return _by_split("pixels without a class", report, body)


def _share(pixels: int, total: int) -> str:
    share = f" ({percent(100 * pixels / total)} %)" if total else ""
    return cell(f"{pixels:,}{share}", pixels)


def _by_split(title: str, report: Report, body: str) -> str:
    heads = "".join(f"<th scope=col>{escape(split.name)}</th>" for split in report.splits)
    return (
        f"<div class=wide><table class=small><thead><tr><th scope=col>{escape(title)}</th>{heads}"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def sizes_table(report: Report) -> str:
    """How many images have which size, the commonest first."""
    names = {size: f"{size[1]} x {size[0]}" for size in report.total.sizes}
    return _counted(
        "size", report, report.total.sizes, names, [split.sizes for split in report.splits]
    )


def kinds_table(report: Report) -> str:
    """How many images are of which kind of file."""
    names = {kind: kind for kind in report.total.kinds}
    return _counted(
        "kind", report, report.total.kinds, names, [split.kinds for split in report.splits]
    )


def _counted(
    title: str,
    report: Report,
    total: Counter,
    names: Mapping,
    by_split: Sequence[Counter],
) -> str:
    if not total:
        return ""
    most = max(total.values())
    rows = []
    common = [key for key, _ in total.most_common(MAX_SIZES)]
    for key in common:
        bar = f' class=bar style="--share:{100 * total[key] / most:.1f}%"'
        cells = "".join(cell(f"{counts[key]:,}") for counts in by_split)
        rows.append(f"<tr><th scope=row{bar}>{escape(names[key])}</th>{cells}</tr>")
    rest = [key for key in total if key not in common]
    if rest:
        cells = "".join(cell(f"{sum(counts[k] for k in rest):,}") for counts in by_split)
        rows.append(f"<tr><th scope=row>{len(rest):,} others</th>{cells}</tr>")
    return _by_split(title, report, "".join(rows))
