"""Both tasks of a net with an edge head, counted in one pass of the net over the images."""

from utils.distributed.environment import Ranks
from utils.evaluation.edges.image_counts import Record
from utils.evaluation.edges.scoring import EdgeScoring
from utils.evaluation.edges.segmentation_sources import SegNetSource
from utils.evaluation.segmentation.handed import HandedLabels
from utils.evaluation.segmentation.scores import ImageCounts
from utils.evaluation.segmentation.scoring import SegScoring


def count_tasks(
    seg: SegScoring | None, edges: EdgeScoring | None, workers: int, ranks: Ranks
) -> tuple[dict[str, ImageCounts] | None, Record | None]:
    """The counts of segmentation and the records of edges, of all images; None of another task.

    The label maps of one net come from the pass that makes its edges. Of images whose edges an
    interrupted run has counted, the net makes the label map alone.

    Args:
        seg: what is scored as segmentation.
        edges: what is scored as edges.
        workers: see `count_edge_images`.
        ranks: each counts its share of the images.
    """
    if edges is None:
        return seg and seg.count(workers, ranks), None
    if seg is None or not isinstance(edges.source, SegNetSource):
        return None, edges.count(workers, ranks)
    with HandedLabels(seg, workers) as handed:
        edges.source.take_labels = handed.take
        try:
            records = edges.count(workers, ranks)
        finally:
            edges.source.take_labels = None
        counted = handed.counts()
    return seg.count(workers, ranks, counted), records
