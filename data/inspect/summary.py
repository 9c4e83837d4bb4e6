"""What was measured on each image, added up for each class and split."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from data.inspect.measure import Measured
from data.inspect.source import Item, Source


@dataclass
class ClassSummary:
    """Of one class in one split. images: those that have it."""

    images: int = 0
    pixels: int = 0
    instances: int = 0
    edges: int = 0
    widths: Counter[int] = field(default_factory=Counter)

    def median_width(self) -> int | None:
        """The width that half of the class's area does not exceed; None without any.

        A ridge's point stands for as much area as the class is wide there.
        """
        half = sum(width * count for width, count in self.widths.items()) / 2
        below = 0
        for width in sorted(self.widths):
            below += width * self.widths[width]
            if below >= half:
                return width
        return None


@dataclass
class SplitSummary:
    """Of one split, or of all together.

    Args:
        name: of the split.
        classes: by train id.
        images: that were looked at.
        labelled: those with a label map that can be read.
        pixels: of their label maps.
        none: pixels without a class.
        ignored: those of them whose border is no edge.
        unnamed: value -> pixels, of values that dataset.json does not name.
        sizes: (H, W) -> images.
        kinds: kind of file -> images.
    """

    name: str
    classes: list[ClassSummary]
    images: int = 0
    labelled: int = 0
    pixels: int = 0
    none: int = 0
    ignored: int = 0
    unnamed: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def share(self, k: int) -> float:
        """Of class k's pixels among all, in percent."""
        return 100 * self.classes[k].pixels / self.pixels if self.pixels else 0.0

    def add(self, found: Measured) -> None:
        """Add one image."""
        self.images += 1
        self.labelled += found.has_label
        if found.size is not None:
            self.sizes[found.size] += 1
        if found.kind:
            self.kinds[found.kind] += 1
        self.none += found.none
        self.ignored += found.ignored
        self.pixels += found.none
        self.unnamed.update(found.unnamed)
        for k, counts in found.classes.items():
            total = self.classes[k]
            total.images += 1
            total.pixels += counts.pixels
            total.instances += counts.instances
            total.edges += counts.edges
            total.widths.update(counts.widths)
            self.pixels += counts.pixels


class Totals:
    """The sums of a source, to which each image is added when it has been measured."""

    def __init__(self, source: Source) -> None:
        count = len(source.classes)
        self.splits = {split: empty_summary(split, count) for split in source.readers}
        self.total = empty_summary("all", count)
        self._seen: set[Path | None] = set()

    def add(self, item: Item, found: Measured) -> None:
        """Add an image to its split, and to the total unless another split has it, too.

        Its widths, which take most of the memory, are forgotten.
        """
        self.splits[item.split].add(found)
        key = item.record.image or item.record.label
        if key not in self._seen:
            self._seen.add(key)
            self.total.add(found)
        for counts in found.classes.values():
            counts.widths = Counter()


def empty_summary(name: str, num_classes: int) -> SplitSummary:
    """A summary of no image."""
    return SplitSummary(name, [ClassSummary() for _ in range(num_classes)])
