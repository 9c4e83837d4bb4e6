"""What a net says of an image: a label map, probabilities of edges, or both of one run."""

from dataclasses import dataclass

import numpy as np

from utils.inference.drawing import Choice
from utils.inference.edge_lines import EdgeChoice
from utils.inference.predictor import Predictor


@dataclass(frozen=True)
class Result:
    """Of one run of the net.

    Args:
        labels: uint8 (H, W), of a segmentation; None: there is none.
        prob: float32 (K, H, W), of edges; None: there are none.
    """

    labels: np.ndarray | None = None
    prob: np.ndarray | None = None

    @classmethod
    def of(cls, predictor: Predictor, image: np.ndarray, choice: Choice | None) -> "Result":
        """Run the net on an image, uint8 (H, W, 3), for what the choice of edges needs."""
        if predictor.task == "edge":
            return cls(prob=predictor(image))
        if isinstance(choice, EdgeChoice):
            return cls(*predictor.both(image))
        return cls(labels=predictor(image))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in (self.labels, self.prob) if array is not None)

    def chosen_in(self, choice: Choice) -> np.ndarray:
        """The array that edges are chosen in."""
        array = self.prob if isinstance(choice, EdgeChoice) else self.labels
        assert array is not None, "`of` has run the net for this choice"
        return array
