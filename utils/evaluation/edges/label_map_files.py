"""Label maps by anybody, read and turned into edges where they are counted.

Runs in worker processes, so it imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path

from utils.evaluation.edges.derived import HARD, EdgeMaking
from utils.evaluation.edges.image_counts import ImageScores
from utils.evaluation.label_files import FolderLabels


@dataclass(frozen=True)
class LabelMapFiles:
    """The label maps of the images that are scored.

    Args:
        folder: the files.
        keys: index of an image -> name in the folder.
        scales: index of an image -> size of its ground truth relative to its label map.
        making: of the edges.
    """

    folder: FolderLabels
    keys: dict[int, str]
    scales: dict[int, float]
    making: EdgeMaking

    def paths(self, index: int) -> list[Path]:
        """The file of one image."""
        return [self.folder.files[self.keys[index]]]

    def read(self, index: int) -> ImageScores:
        """The hard edges of one image, by mode."""
        labels = self.folder.load(self.keys[index])
        return {HARD: self.making.hard(labels, self.scales[index])}
