"""A test of semantic edges from matched scores and ground truth to the files of all results."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.base import Dataset
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.evaluation.edges.counter import ImageCounter
from utils.evaluation.edges.examples import edge_example_loader
from utils.evaluation.edges.ground_truth import (
    EdgeGroundTruth,
    FolderGroundTruth,
    sizes_in_words,
)
from utils.evaluation.edges.image_counts import Record
from utils.evaluation.edges.partial import ResumableCounter, fingerprint
from utils.evaluation.edges.protocols import EdgeProtocol, same_tolerances
from utils.evaluation.edges.quality.tables import QUALITY_FILES
from utils.evaluation.edges.results import (
    EdgeResult,
    edge_results,
    format_overview,
    report_result,
    require_result_folders,
    require_temperature,
    score_result,
    write_result,
)
from utils.evaluation.edges.run import count_edge_images
from utils.evaluation.edges.sources import EdgeSource, NetworkSource, image_places
from utils.evaluation.out_dir import RESULTS


@dataclass(frozen=True)
class EdgeScoring:
    """What is scored against what, and how.

    Args:
        source: the scores of all images.
        truth: the ground truth.
        results: what one pass over the images gives.
        names: of the K classes that are scored.
        palette: uint8 (K, 3), for the report.
        out: the folder of all results.
        dataset: has the images for the report; None: it is without.
        places: index in the ground truth -> index in the data set.
        fit: a temperature is fitted, see `score_result`.
    """

    source: EdgeSource
    truth: EdgeGroundTruth
    results: Sequence[EdgeResult]
    names: Sequence[str]
    palette: np.ndarray
    out: Path
    dataset: Dataset | None
    places: Mapping[int, int]
    fit: str | None = None

    @classmethod
    def prepared(
        cls,
        source: EdgeSource,
        truth: EdgeGroundTruth,
        protocols: Sequence[EdgeProtocol],
        described: tuple[Sequence[str], np.ndarray],
        out: Path,
        dataset: Dataset | None,
        ranks: Ranks,
        fit: str | None = None,
    ) -> "EdgeScoring":
        """Look at the folders of results and at the images, before the long part starts.

        Arguments as of this class. protocols: equal but for their tolerance. described: names and
        palette.
        """
        names, palette = described[0][: truth.num_classes], described[1][: truth.num_classes]
        chosen = None
        if source.classes is not None:
            names = chosen = tuple(names[k] for k in source.classes)
            palette = palette[list(source.classes)]
        results = edge_results(out, source, same_tolerances(truth.protocol, protocols, chosen))
        if fit:
            require_temperature(results)
        from_main(lambda: require_result_folders(results), ranks)
        places = image_places(source, truth, dataset)
        return cls(source, truth, results, names, palette, out, dataset, places, fit)

    @property
    def protocols(self) -> tuple[EdgeProtocol, ...]:
        """One for each tolerance."""
        return tuple(dict.fromkeys(result.protocol for result in self.results))

    def announce(self) -> None:
        """Print the protocols, a line each, and what may surprise in the ground truth."""
        sizes = sizes_in_words(self.truth.size(i) for i in self.source.indices)
        for protocol in self.protocols:
            print(protocol.describe(sizes))
        if isinstance(self.truth, FolderGroundTruth) and (note := self.truth.note()):
            print(f"note: {note}", file=sys.stderr)

    def count(self, workers: int, ranks: Ranks) -> Record:
        """The records of all images, see `count_edge_images`."""
        source = self.source
        predict = source.scores if isinstance(source, NetworkSource) else None
        return count_edge_images(self._counter(), source.indices, workers, ranks, predict=predict)

    def write(self, records: Record, images: int | None) -> None:
        """Print the scores, and write each result to its folder.

        Args:
            records: of all images.
            images: the number of best and of worst images in the report; None: without a report.
        """
        source, truth = self.source, self.truth
        image_names = [truth.names[i] for i in source.indices]
        scored = [score_result(result, records, self.names, self.fit) for result in self.results]
        for each in scored:
            variant = each.result.variant
            of_edges = source.origin_of(variant)
            origin = {**source.origin, **of_edges, **truth.origin, "images": len(image_names)}
            print(each.format_tables())
            write_result(each, origin, image_names)
            if images is not None:
                load = edge_example_loader(source, truth, self.dataset, self.places, variant)
                report_result(each, origin, self.palette, load_example=load, images=images)
        if all(result.folder != self.out for result in self.results):
            # Of an earlier run with a single result, which would be taken for one of these.
            for name in (*RESULTS, *QUALITY_FILES):
                (self.out / name).unlink(missing_ok=True)
        self._counter().forget()
        print(format_overview(scored, self.out))

    def _counter(self) -> ResumableCounter:
        source, truth = self.source, self.truth
        meaning = filter(None, [self.dataset.meaning()] if self.dataset else [])
        return ResumableCounter(
            ImageCounter(
                truth,
                self.protocols,
                source.files,
                source.image_files,
                source.variants,
                source.classes,
            ),
            fingerprint(source.identity, truth.origin, *meaning),
            self.out / "partial",
        )
