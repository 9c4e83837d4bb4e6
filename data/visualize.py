"""Drawing semantic edges and label maps: colours, overlay, legend. All uint8, RGB.

Shapes: K classes, H x W pixels. "Edges" are probabilities float (K, H, W), a mask bool (K, H, W)
or bits uint32 (H, W).
"""

import colorsys
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.edges import unpack

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
TEXT: Color = (40, 40, 40)
LINE: Color = (205, 205, 205)
NO_EDGE = "no edge above the threshold"
GOLDEN_RATIO = 0.618034
SMALLEST_FONT = 12  # pixels
NARROW = 320  # pixels: up to this width a legend may be wider than its image
LONGEST_NAME = 30  # characters of a name in a legend
MISSING = "\uffff"  # a character that no font has; drawn as an empty box


def distinct_colors(count: int) -> np.ndarray:
    """uint8 (count, 3), RGB: evenly spread hues, for classes that nobody has given a colour."""
    hues = np.linspace(0, 180, count, endpoint=False).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 200), np.full_like(hues, 230)], axis=1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def contrasting_colors(count: int) -> np.ndarray:
    """uint8 (count, 3), RGB: unlike colours for neighbours in the list, for very many classes.

    Hues go round by the golden ratio, in three shades in turn; `distinct_colors` gives neighbours
    hues too close to distinguish when there are fifty.
    """
    shades = (0.9, 0.65, 0.45)
    colors = [
        colorsys.hsv_to_rgb(k * GOLDEN_RATIO % 1, 0.9, shades[k % len(shades)])
        for k in range(count)
    ]
    return np.rint(255 * np.array(colors)).astype(np.uint8)


def default_class_names(count: int) -> tuple[str, ...]:
    """("class 1", ..., "class count"), for classes that nobody has given a name."""
    return tuple(f"class {number}" for number in range(1, count + 1))


def draw_edges(
    edges: np.ndarray,
    palette: np.ndarray,
    *,
    threshold: float = 0.5,
    background: Color = WHITE,
) -> np.ndarray:
    """Draw the edges of all classes in one image, uint8 (H, W, 3).

    Hue says which classes, strength says how probable. As in the papers' figures, a pixel on the
    edge of several classes gets their mixed colour (see `mix_colors`).

    Args:
        edges: in any of the three forms.
        palette: uint8 (K, 3), RGB.
        threshold: a class below it counts as absent; the strongest class's probability blends
            colour and background.
        background: the colour where there is no edge.
    """
    prob = as_prob(edges, len(palette))
    canvas = np.full((*prob.shape[1:], 3), background, np.uint8)
    return _blend(canvas, prob, palette, threshold)


def draw_overlay(
    image: np.ndarray, edges: np.ndarray, palette: np.ndarray, *, threshold: float = 0.5
) -> np.ndarray:
    """Draw the edges over their image (H, W, 3), faded so that their colours stand out."""
    return _blend(faded(image), as_prob(edges, len(palette)), palette, threshold)


def faded(image: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) almost in grey, with 30 % white: what edges are drawn over."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, 0.25, grey, 0.45, 76)  # 76 of 255


def color_labels(label: np.ndarray, palette: np.ndarray, *, ignored: Color = BLACK) -> np.ndarray:
    """Draw a label map, uint8 (H, W), in its classes' colours: uint8 (H, W, 3).

    Ids that the palette does not hold (255) get the colour `ignored`.
    """
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
    """Put a strip below the image with colour and name of each of `classes`.

    It has as many columns as the width allows. If it is higher than the image, its letters become
    smaller, down to two thirds, or a narrow image is widened with white on the right, as is one too
    narrow for one name. Names are cut to LONGEST_NAME; one in letters that no font here has is
    written as "class 3".

    Args:
        image: uint8 (H, W, 3).
        classes: the ids to list, in this order.
        names: of all K classes.
        palette: uint8 (K, 3), of all K classes.
        font_size: pixels; 0 takes one that suits the image's width.
    """
    entries = [(tuple(palette[k].tolist()), legend_name(names[k], k + 1)) for k in classes]
    grid = _fitting_grid([name for _, name in entries], image.shape[:2], font_size)
    strip = _draw_legend(entries, grid)
    missing = strip.shape[1] - image.shape[1]
    wide = cv2.copyMakeBorder(image, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=WHITE)
    return np.vstack([wide, strip])


def legend_name(name: str, number: int) -> str:
    """A class's name as a legend has it; number: of the class, from 1."""
    name = " ".join(name.replace("_", " ").split())
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 1].rstrip()}…"
    return name if _is_drawable(name) else f"class {number}"


def as_prob(edges: np.ndarray, num_classes: int) -> np.ndarray:
    """float32 (K, H, W) from any of the three forms of edges; float32 is returned uncopied."""
    if edges.ndim == 2:
        edges = unpack(edges, num_classes)
    if edges.ndim != 3 or len(edges) != num_classes:
        raise ValueError(
            f"edges of shape {edges.shape}, expected ({num_classes}, H, W) or bits (H, W)"
        )
    return edges.astype(np.float32, copy=False)


def mix_colors(weights: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """float32 (P, 3) RGB from weights (K, P), each pixel with some weight above 0.

    Hue is that of the weighted mean colour; saturation and value are the weighted means of the
    classes' own. The plain mean of two vivid colours is a dull one, which the eye takes for
    another class.
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
    """Lay the mixed colours of all edges over the canvas; opacity = the strongest probability."""
    if canvas.shape[:2] != prob.shape[1:]:
        raise ValueError(
            f"an image of {canvas.shape[:2]} and edges of {prob.shape[1:]} do not fit together"
        )
    strongest = prob.max(axis=0)
    edge = (strongest >= threshold) & (strongest > 0)
    if not edge.any():
        return canvas
    weights = prob[:, edge]
    opacity = strongest[edge][:, None]
    color = mix_colors(np.where(weights >= threshold, weights, 0), palette)
    canvas[edge] = np.rint(opacity * color + (1 - opacity) * canvas[edge])
    return canvas


class _Grid:
    """Where the entries of a legend are, all in pixels.

    Args:
        names: of the entries.
        width: as wide as that, or as one entry if that is wider.
        size: of the letters.
    """

    def __init__(self, names: Sequence[str], width: int, size: int) -> None:
        self.size = size
        self.patch = round(1.1 * size)
        self.gap = round(0.5 * size)
        text = max(_text_width(name, size) for name in names or [NO_EDGE])
        self.cell = self.patch + 4 * self.gap + text
        self.width = max(width, self.cell + self.gap)
        self.columns = min(max(1, (self.width - self.gap) // self.cell), max(1, len(names)))
        rows = max(1, -(-len(names) // self.columns))
        self.height = rows * (self.patch + self.gap) + self.gap + 1

    def place(self, position: int) -> tuple[int, int]:
        """(x, y), the corner of an entry."""
        row, column = divmod(position, self.columns)
        return self.gap + column * self.cell, 1 + self.gap + row * (self.patch + self.gap)


def _fitting_grid(names: Sequence[str], shape: tuple[int, int], font_size: int) -> _Grid:
    """The first grid, from large letters to small ones, that is no higher than the image (H, W)."""
    height, width = shape
    largest = font_size or _font_size(width)
    smallest = font_size or max(SMALLEST_FONT, round(largest * 2 / 3))
    grid = _Grid(names, width, largest)
    for size in range(largest, smallest - 1, -1):
        grid = _Grid(names, width, size)
        if grid.height <= height:
            return grid
    # A grid of one column may be wider than the image, but no wider than that column.
    wider = _Grid(names, NARROW, smallest)
    if width >= NARROW or wider.columns == 1:
        return grid
    return _Grid(names, wider.columns * wider.cell + wider.gap, smallest)


def _draw_legend(entries: Sequence[tuple[Color, str]], grid: _Grid) -> np.ndarray:
    """uint8 (h, w, 3), of the grid's size: a line above, then (colour, name) entries in columns."""
    size, patch = grid.size, grid.patch
    strip = Image.new("RGB", (grid.width, grid.height), WHITE)
    pen = ImageDraw.Draw(strip)
    pen.line([(0, 0), (grid.width, 0)], fill=LINE)
    if not entries:
        x, y = grid.place(0)
        pen.text((x, y + patch // 2), NO_EDGE, fill=TEXT, font=_font(size), anchor="lm")
    for position, (color, name) in enumerate(entries):
        x, y = grid.place(position)
        pen.rectangle([x, y, x + patch - 1, y + patch - 1], fill=color, outline=LINE)
        font = _font_of(name, size)
        text = (x + patch + grid.gap, y + patch // 2)
        pen.text(text, name, fill=TEXT, font=font, anchor="lm")
    return np.asarray(strip)


def _font_size(width: int) -> int:
    """Pixels; readable in an image of 480 as of 4000 when it is shown as wide as a page."""
    return int(np.clip(width / 36, SMALLEST_FONT, max(36, width / 57)))


@cache
def _font(size: int, wide: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own truetype font, so that images look the same on every machine.

    wide: the one that comes with Matplotlib, which has accents, Greek, Cyrillic and Arabic.
    """
    found = importlib.util.find_spec("matplotlib") if wide else None
    if found is None or found.origin is None:
        return ImageFont.load_default(size=size)
    path = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(path, size) if path.is_file() else ImageFont.load_default(size=size)


def _font_of(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that has all characters of the text, Pillow's own if that is one."""
    return _font(size, not all(_has(character, False) for character in text))


def _is_drawable(text: str) -> bool:
    return any(all(_has(character, wide) for character in text) for wide in (False, True))


@cache
def _has(character: str, wide: bool) -> bool:
    """Whether a font has a character, and does not draw a box in its place."""
    return _drawn(character, wide) != _drawn(MISSING, wide)


@cache
def _drawn(character: str, wide: bool) -> bytes:
    canvas = Image.new("L", (40, 40))
    ImageDraw.Draw(canvas).text((4, 4), character, fill=255, font=_font(20, wide))
    return canvas.tobytes()


def _text_width(text: str, size: int) -> int:
    return int(_font_of(text, size).getlength(text)) + 1
