"""The edges of a segmentation as scores: a variant for each rule, made where they are counted.

Label maps and probabilities travel to the processes that count, and the edges are made there, class
by class, so memory stays bounded. So this module imports no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.edges import class_edges, hard_edges, soft_edges

# Names of scores that a segmentation net may give in one pass: of its edge head, and derived ones.
HEAD, HARD, SOFT = "head", "hard", "soft"
RULES = {
    HARD: (
        "edges of the predicted label map, by the rule of the ground truth (data.edges.hard_edges)"
    ),
    SOFT: (
        "probability of an edge from the class probabilities, the most probable of those to the "
        "neighbours by the rule of the ground truth (data.edges.soft_edges)"
    ),
}
STEPS = 65535  # of a probability that is sent to another process


@dataclass(frozen=True)
class HardEdges:
    """Iterates over the edges of each class in turn: uint8 (h, w), 0 or 255.

    Args:
        labels: uint8 (H, W), train ids.
        num_classes: of the ground truth; ids from there on are no class.
        classes: those that are scored.
        thin: see `data.edges.hard_edges`, as for scale.
        scale: of the ground truth relative to the label map.
    """

    labels: np.ndarray
    num_classes: int
    classes: Sequence[int]
    thin: bool
    scale: float

    def __iter__(self) -> Iterator[np.ndarray]:
        groups = hard_edges(
            self.labels, num_classes=self.num_classes, thin=self.thin, scale=self.scale
        )
        for k in self.classes:
            yield class_edges(groups, k).view(np.uint8) * np.uint8(255)


@dataclass(frozen=True)
class SoftEdges:
    """Iterates over the probability of an edge of each class in turn: float32 (h, w).

    Args:
        prob: uint16 (K, H, W), of the classes that are scored, see `stored_probability`.
        thin: see `data.edges.soft_edges`, as for scale.
        scale: of the ground truth relative to the image.
    """

    prob: np.ndarray
    thin: bool
    scale: float

    def __iter__(self) -> Iterator[np.ndarray]:
        for plane in self.prob:
            prob = plane.astype(np.float32) / np.float32(STEPS)
            yield soft_edges(prob, thin=self.thin, scale=self.scale)


@dataclass(frozen=True)
class EdgeMaking:
    """How the edges of all images are made.

    Args:
        num_classes: of the ground truth; label maps may have more, as a background.
        modes: those of the protocol; the crisp one has thin edges, the crispest there are.
        classes: those that are scored; None: all.
    """

    num_classes: int
    modes: tuple[str, ...]
    classes: tuple[int, ...] | None = None

    @property
    def chosen(self) -> Sequence[int]:
        """The classes that are scored."""
        return range(self.num_classes) if self.classes is None else self.classes

    def hard(self, labels: np.ndarray, scale: float) -> Mapping[str, HardEdges]:
        """By mode, of a label map uint8 (H, W)."""
        return {
            mode: HardEdges(labels, self.num_classes, self.chosen, mode != "raw", scale)
            for mode in self.modes
        }

    def soft(self, logits: np.ndarray, scale: float) -> Mapping[str, SoftEdges]:
        """By mode, of logits float32 (C, H, W); C may be larger than K, by a background."""
        prob = stored_probability(logits, self.chosen)
        return {mode: SoftEdges(prob, mode != "raw", scale) for mode in self.modes}


def stored_probability(logits: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The softmax of logits float32 (C, H, W), of some classes: uint16 (K, H, W), 65535 = 1.

    Class by class: beside the result, a few maps (H, W) are held.
    """
    highest = logits.max(axis=0)
    total = np.zeros(logits.shape[1:], np.float32)
    for plane in logits:
        total += np.exp(plane - highest)
    factor = np.float32(STEPS) / total
    prob = np.empty((len(classes), *total.shape), np.uint16)
    for place, k in enumerate(classes):
        prob[place] = np.rint(np.exp(logits[k] - highest) * factor)
    return prob
