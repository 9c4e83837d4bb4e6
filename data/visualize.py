"""Images of semantic edges and label maps: colours, overlay, legend, panels. All uint8, RGB.

Shapes: K classes, H x W pixels. "Edges" are probabilities float (K, H, W), a mask bool (K, H, W) or bits uint32 (H, W).
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.edges import unpack

WHITE, BLACK, INK, RULE = (255, 255, 255), (0, 0, 0), (40, 40, 40), (205, 205, 205)
NO_EDGE = "no edge above the threshold"


def draw_edges(
    edges: np.ndarray,
    palette: np.ndarray,
    *,
    threshold: float = 0.5,
    background: tuple[int, int, int] = WHITE,
) -> np.ndarray:
    """The edges of all classes in one image, uint8 (H, W, 3): hue says which classes, strength says how probable.

    As in the papers' figures, a pixel on the edge of several classes gets their mixed colour (see `mix_colors`). A
    class below `threshold` counts as absent; the strongest class's probability blends colour and background.
    """
    prob = as_prob(edges, len(palette))
    canvas = np.full((*prob.shape[1:], 3), background, np.uint8)
    return _blend(canvas, prob, palette, threshold)


def draw_overlay(
    image: np.ndarray, edges: np.ndarray, palette: np.ndarray, *, threshold: float = 0.5
) -> np.ndarray:
    """The edges over their image (H, W, 3), which is faded to grey so that the colours of the edges stand out."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    faded = cv2.addWeighted(
        image, 0.25, grey, 0.45, 76
    )  # 30 % white, the rest image with a third of its colour
    return _blend(faded, as_prob(edges, len(palette)), palette, threshold)


def color_labels(
    label: np.ndarray, palette: np.ndarray, *, ignored: tuple[int, int, int] = BLACK
) -> np.ndarray:
    """A label map, uint8 (H, W), in its data set's colours, uint8 (H, W, 3); ids without one (255) are `ignored`."""
    table = np.full((256, 3), ignored, np.uint8)
    table[: len(palette)] = palette
    return table[label]


def present_classes(edges: np.ndarray, num_classes: int, *, threshold: float = 0.5) -> list[int]:
    """The classes with a pixel at or above `threshold`, in order."""
    strongest = as_prob(edges, num_classes).reshape(num_classes, -1).max(axis=1)
    return np.flatnonzero((strongest >= threshold) & (strongest > 0)).tolist()


def add_legend(
    image: np.ndarray,
    classes: Sequence[int],
    names: Sequence[str],
    palette: np.ndarray,
    *,
    font_size: int = 0,
) -> np.ndarray:
    """The image with a strip below it: colour and name of each of `classes`, in as many columns as the width allows.

    font_size: pixels, 0 = by the image's width. An image too narrow for one name is widened with white on the right.
    """
    size = font_size or _font_size(image.shape[1])
    patch, gap = round(1.1 * size), round(0.5 * size)
    entries = [(tuple(palette[k].tolist()), names[k].replace("_", " ")) for k in classes]
    cell = (
        patch
        + 4 * gap
        + max((_text_width(name, size) for _, name in entries), default=_text_width(NO_EDGE, size))
    )
    width = max(image.shape[1], cell + gap)
    columns = min(max(1, (width - gap) // cell), max(1, len(entries)))
    rows = max(1, -(-len(entries) // columns))
    line = patch + gap
    strip = Image.new("RGB", (width, rows * line + gap + 1), WHITE)
    pen = ImageDraw.Draw(strip)
    pen.line([(0, 0), (width, 0)], fill=RULE)
    if not entries:
        pen.text((gap, gap + 1 + patch // 2), NO_EDGE, fill=INK, font=_font(size), anchor="lm")
    for place, (color, name) in enumerate(entries):
        x, y = gap + place % columns * cell, 1 + gap + place // columns * line
        pen.rectangle([x, y, x + patch - 1, y + patch - 1], fill=color, outline=RULE)
        pen.text((x + patch + gap, y + patch // 2), name, fill=INK, font=_font(size), anchor="lm")
    wide = cv2.copyMakeBorder(
        image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=WHITE
    )
    return np.vstack([wide, np.asarray(strip)])


def panels(images: Sequence[tuple[str, np.ndarray]], *, columns: int = 0) -> np.ndarray:
    """(title, image) pairs as a titled grid on white; 0 columns = one row. All get the size of the first."""
    height, width = images[0][1].shape[:2]
    columns, size = columns or len(images), _font_size(width)
    gap, head = max(4, size // 2), 2 * size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + head) + gap), WHITE)
    pen = ImageDraw.Draw(sheet)
    for place, (title, image) in enumerate(images):
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        x, y = gap + place % columns * (width + gap), place // columns * (height + head)
        pen.text((x, y + head // 2), title, fill=INK, font=_font(size), anchor="lm")
        sheet.paste(Image.fromarray(image), (x, y + head))
        pen.rectangle([x - 1, y + head - 1, x + width, y + head + height], outline=RULE)
    return np.array(sheet)


def draw_comparison(
    image: np.ndarray,
    truth: np.ndarray,
    edges: np.ndarray,
    names: Sequence[str],
    palette: np.ndarray,
    *,
    threshold: float = 0.5,
) -> np.ndarray:
    """Image, true edges and predicted edges side by side, with one legend of the classes present in either."""
    seen = {
        *present_classes(truth, len(palette)),
        *present_classes(edges, len(palette), threshold=threshold),
    }
    row = [
        ("image", image),
        ("truth", draw_edges(truth, palette)),
        ("prediction", draw_edges(edges, palette, threshold=threshold)),
    ]
    return add_legend(
        panels(row), sorted(seen), names, palette, font_size=_font_size(image.shape[1])
    )


def as_prob(edges: np.ndarray, num_classes: int) -> np.ndarray:
    """float32 (K, H, W) from any of the three forms of edges; probabilities are handed back as they are."""
    if edges.ndim == 2:
        edges = unpack(edges, num_classes)
    if edges.ndim != 3 or len(edges) != num_classes:
        raise ValueError(
            f"edges of shape {edges.shape}, expected ({num_classes}, H, W) or bits (H, W)"
        )
    return edges.astype(np.float32, copy=False)


def mix_colors(weights: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """float32 (P, 3) RGB from weights (K, P), each pixel with some weight above 0.

    Hue is that of the weighted mean colour; saturation and value are the weighted means of the classes' own. The plain
    mean of two vivid colours is a dull one, which the eye takes for a class of its own.
    """
    share = (weights / weights.sum(axis=0)).T.astype(np.float32)
    colors = palette.astype(np.float32) / 255
    hsv = cv2.cvtColor(np.ascontiguousarray((share @ colors)[None]), cv2.COLOR_RGB2HSV)[0]
    own = cv2.cvtColor(colors[None], cv2.COLOR_RGB2HSV)[0]
    hsv[:, 1:] = share @ own[:, 1:]
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255


def _blend(
    canvas: np.ndarray, prob: np.ndarray, palette: np.ndarray, threshold: float
) -> np.ndarray:
    """The canvas (H, W, 3) with the mixed colours of all edges laid over it; opacity = the strongest probability."""
    if canvas.shape[:2] != prob.shape[1:]:
        raise ValueError(
            f"an image of {canvas.shape[:2]} and edges of {prob.shape[1:]} do not fit together"
        )
    strongest = prob.max(axis=0)
    edge = (strongest >= threshold) & (strongest > 0)
    weights = prob[:, edge]
    opacity = strongest[edge][:, None]
    color = (
        mix_colors(np.where(weights >= threshold, weights, 0), palette)
        if edge.any()
        else np.empty((0, 3))
    )
    canvas[edge] = np.rint(opacity * color + (1 - opacity) * canvas[edge])
    return canvas


def _font_size(width: int) -> int:
    """Pixels; readable in an image of 480 as of 2048 when it is shown as wide as a page."""
    return int(np.clip(width / 36, 12, 36))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own truetype font, so that images look the same on every machine."""
    return ImageFont.load_default(size=size)


def _text_width(text: str, size: int) -> int:
    return int(_font(size).getlength(text)) + 1


def default_class_names(count: int) -> tuple[str, ...]:
    """ "class 1", "class 2", ...: for classes that nobody has named."""
    return tuple(f"class {k + 1}" for k in range(count))


def distinct_colors(count: int) -> np.ndarray:
    """uint8 (count, 3), RGB: hues spread evenly, for classes that nobody has given a colour."""
    hues = np.linspace(0, 180, count, endpoint=False).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 200), np.full_like(hues, 230)], axis=1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
