"""The sections that the reports on both tasks have in common."""

from collections.abc import Callable, Mapping
from itertools import starmap

import numpy as np

from utils.evaluation.html import at, facts, section


def source_section(source: Mapping[str, object], knobs: Mapping[str, object]) -> str:
    """What was scored against what, and how. A checkpoint's hash is shortened to 12 digits."""
    shortened = {
        name: str(value)[:12] if name == "sha256" else value for name, value in source.items()
    }
    return section("What was scored, and how", facts(shortened), facts(knobs))


def best_and_worst(quality: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """Indices of the `count` best images, best first, and of as many worst, worst first.

    No image is in both. quality: (images,), nan for an image that has no score, which is in
    neither.
    """
    order = np.argsort(-quality, kind="stable")
    order = order[np.isfinite(quality[order])]
    best, worst = order[:count], order[max(count, len(order) - count) :][::-1]
    return best.tolist(), worst.tolist()


def example_sections(
    quality: np.ndarray,
    count: int,
    draw: Callable[[int, float], str],
    *,
    note: str = "",
) -> list[str]:
    """A section of the best and one of the worst images; without images, none.

    Args:
        quality: Score of each image, see `best_and_worst`.
        count: Number of images in each section.
        draw: HTML of an image from its index and its score; called only for the images that are
            shown.
        note: Follows the titles, such as the mode that is ranked.
    """
    sections = []
    for title, chosen in zip(("Best", "Worst"), best_and_worst(quality, count), strict=True):
        rows = list(starmap(draw, ((i, float(quality[i])) for i in chosen)))
        if rows:
            sections.append(section(f"{title} images{note}", *rows))
    return sections


def iso_f_lines() -> str:
    """Lines of equal F = 0.1 ... 0.9: precision = F R / (2 R - F), from the right to the top."""
    lines = []
    for f in np.arange(1, 10) / 10:
        recall = np.geomspace(f / (2 - f), 1, 60)
        points = " ".join(at(r, f * r / (2 * r - f)) for r in recall)
        x, y = at(1, f / (2 - f)).split(",")
        label = f"<text class=equal x={float(x) + 3:.1f} y={float(y) + 3:.1f}>{f:g}</text>"
        lines.append(f'<polyline class=iso points="{points}"/>{label}')
    return "".join(lines)
