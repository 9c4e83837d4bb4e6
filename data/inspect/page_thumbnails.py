"""The images of the page: the contact sheet, and pairs of the same image."""

from html import escape

from data.inspect.page_tables import css_color
from data.inspect.report import Report
from data.inspect.suspects import Choice
from data.inspect.thumbnails import Thumbnail

RING = 0.012  # radius of a mark, of the image's longer side
VIEWS = {"both": "edges and areas", "edges": "edges", "areas": "areas", "plain": "image alone"}


def contact_sheet(report: Report) -> str:
    """Suspects with their reasons, then ordinary images, with switches for what is drawn."""
    if not report.thumbnails:
        return ""
    suspects = [choice for choice in report.choices if choice.reasons]
    ordinary = [choice for choice in report.choices if not choice.reasons]
    parts = [_controls(report)]
    if suspects:
        parts.append("<h3>Suspects, the worst first</h3>")
        parts.append(_grid(report, suspects))
    if ordinary:
        parts.append("<h3>Ordinary images of each split</h3>")
        parts.append(_grid(report, ordinary))
    return "".join(parts)


def _controls(report: Report) -> str:
    views = "".join(
        f"<label><input type=radio name=view value={key}{' checked' if key == 'both' else ''}>"
        f"{name}</label>"
        for key, name in VIEWS.items()
    )
    shown = {layer.label for image in report.thumbnails.values() for layer in image.layers}
    chips = "".join(
        f"<label><input type=checkbox data-class={k} checked>"
        f'<i style="background:{css_color(report.source.palette[k].tolist())}"></i>'
        f"{escape(report.source.classes[k])}</label>"
        for k in sorted(shown)
    )
    buttons = "".join(
        f"<button type=button data-all={value}>{name}</button>"
        for value, name in ((1, "all"), (0, "none"))
    )
    return (
        f"<div class=controls><div class=views>{views}</div>"
        f"<details open><summary>classes</summary><div class=chips>{buttons}{chips}</div></details>"
        "</div><p class=hint>A click on an image makes it large, and small again. Rings mark "
        "specks.</p>"
    )


def _grid(report: Report, choices: list[Choice]) -> str:
    figures = "".join(
        _figure(report, choice, report.thumbnails[choice.number])
        for choice in choices
        if choice.number in report.thumbnails
    )
    return f"<div class=grid>{figures}</div>"


def _figure(report: Report, choice: Choice, image: Thumbnail) -> str:
    item = report.source.items[choice.number]
    reasons = "".join(f"<li>{escape(text)}</li>" for text in choice.reasons)
    stack = _stack(image, item.name, _marks(report, choice.number) if reasons else "")
    below = f"<ul>{reasons}</ul>" if reasons else ""
    return (
        f"<figure>{stack}<figcaption><b>{escape(item.name)}</b> "
        f"<span>{escape(item.split)}, {image.size[1]} x {image.size[0]}</span>{below}"
        "</figcaption></figure>"
    )


def _stack(image: Thumbnail, name: str, marks: str = "") -> str:
    """The image with its layers over it. marks: SVG."""
    layers = "".join(
        f'<img class=area data-layer={layer.label} alt="" src="{layer.area}">'
        for layer in image.layers
    )
    layers += "".join(
        f'<img class=edge data-layer={layer.label} alt="" src="{layer.edges}">'
        for layer in image.layers
        if layer.edges
    )
    base = f'<img class=base alt="{escape(name)}" src="{image.image}">'
    return f"<div class=stack>{base}{layers}{marks}</div>"


def _marks(report: Report, number: int) -> str:
    """A ring around each of the smallest specks."""
    found = report.measured[number]
    if not found.specks or found.size is None:
        return ""
    height, width = found.size
    radius = RING * max(height, width)
    rings = "".join(
        f"<circle cx={speck.x + 0.5} cy={speck.y + 0.5} r={radius:.4g} data-layer={speck.label} />"
        for speck in found.specks
    )
    return f'<svg class=marks viewBox="0 0 {width} {height}" aria-hidden=true>{rings}</svg>'


def pair_sheet(report: Report) -> str:
    """Copies and near-duplicates between splits, side by side."""
    rows = []
    for pair in report.pairs:
        images = [report.pair_images.get(number) for number in pair[:2]]
        figures = "".join(
            f"<figure>{_stack(image, report.source.items[image.number].name)}<figcaption>"
            f"<b>{escape(report.source.items[image.number].name)}</b> "
            f"<span>{escape(report.source.items[image.number].split)}</span></figcaption></figure>"
            for image in images
            if image is not None
        )
        same = report.measured[pair.first].digest == report.measured[pair.second].digest
        said = "pixel by pixel" if same else f"{pair.bits} of 64 bits differ"
        rows.append(f"<div class=pair>{figures}<p>{said}</p></div>")
    return f"<div class=pairs>{''.join(rows)}</div>" if rows else ""
