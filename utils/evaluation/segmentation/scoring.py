"""A test of segmentation from matched label maps to the files of results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.base import Dataset
from utils.distributed.environment import Ranks
from utils.evaluation.segmentation.examples import seg_example_loader
from utils.evaluation.segmentation.label_maps import LabelMaps
from utils.evaluation.segmentation.pairing import match_maps, require_same_sizes
from utils.evaluation.segmentation.report import write_seg_report
from utils.evaluation.segmentation.run import count_label_maps, write_seg_results
from utils.evaluation.segmentation.scores import (
    ImageCounts,
    SegProtocol,
    image_quality,
    score_images,
)
from utils.evaluation.segmentation.tables import format_scores


@dataclass(frozen=True)
class SegScoring:
    """What is scored against what, and how.

    Args:
        truth: the true label maps.
        predictions: the predicted ones.
        matches: name in the ground truth -> name of its prediction.
        protocol: how the two are compared.
        palette: uint8 (K, 3), for the report.
        out: the folder of results.
        dataset: has the images for the report; None: it is without.
    """

    truth: LabelMaps
    predictions: LabelMaps
    matches: Mapping[str, str]
    protocol: SegProtocol
    palette: np.ndarray
    out: Path
    dataset: Dataset | None

    @classmethod
    def matched(
        cls,
        truth: LabelMaps,
        predictions: LabelMaps,
        protocol: SegProtocol,
        palette: np.ndarray,
        out: Path,
        dataset: Dataset | None,
        *,
        allow_missing: bool,
        report: Callable[[str], None],
    ) -> "SegScoring":
        """Pair predictions and ground truth by name and size; InputError if they do not fit.

        Arguments as of this class and of `match_maps`.
        """
        matches = match_maps(truth, predictions, allow_missing=allow_missing, report=report)
        require_same_sizes(truth, predictions, matches)
        # Images of the report are matched before the work, too.
        seg_example_loader(truth, predictions, matches, dataset)
        return cls(truth, predictions, matches, protocol, palette, out, dataset)

    def count(
        self, workers: int, ranks: Ranks, counted: Mapping[str, ImageCounts] | None = None
    ) -> dict[str, ImageCounts]:
        """The counts of all images, see `count_label_maps`."""
        return count_label_maps(
            self.truth,
            self.predictions,
            self.matches,
            self.protocol,
            workers=workers,
            ranks=ranks,
            counted=counted or {},
        )

    def write(self, counts: Mapping[str, ImageCounts], images: int | None) -> None:
        """Print the scores, and write the files of results.

        images: the number of best and of worst images in the report; None: without a report.
        """
        in_order = list(counts.values())
        scores = score_images(in_order, self.protocol)
        source = {**self.predictions.origin, **self.truth.origin, "images": len(counts)}
        print(format_scores(scores))
        write_seg_results(self.out, scores, source)
        if images is not None:
            load = seg_example_loader(self.truth, self.predictions, self.matches, self.dataset)
            write_seg_report(
                self.out,
                scores,
                image_quality(in_order),
                source,
                self.palette,
                load_example=load,
                images=images,
            )
        print(f"\nscores: {self.out}")
