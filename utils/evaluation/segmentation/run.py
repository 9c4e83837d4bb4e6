"""Scoring segmentation over a data set: the counts of all images, and the files of results.

`metrics.json`:

    task        "seg"
    protocol    {bounds, region}: see `utils.evaluation.segmentation.scores.SegProtocol`
    source      what was scored against what: checkpoint or predictions, inference modes, dataset,
                split or labels, the number of images
    scores
        miou, pixel_accuracy, mean_accuracy, frequency_weighted_iou
        boundary_iou    mean over the classes that occur
        boundary_iou_pixels  [narrowest, widest region over the images]
        boundary_f      [{bound, pixels [lowest, highest over the images],
                          published_mean: over all classes and images, 1 where neither map has a
                              boundary of the class,
                          mean: over classes, of the mean over the images in which the class has a
                              true boundary}, ...]
        classes         [{name, status: "ok" | "no ground truth", images, true_pixels,
                          predicted_pixels, iou, accuracy, boundary_iou,
                          boundary_f, boundary_f_present: one figure per bound}, ...]
        confusion       pixels, a row per true class, a column per predicted class and one for none

All figures are fractions, not percent; null where there is nothing to score. Beside it lie
`scores.csv` and `confusion.csv`.
"""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.files import write_aside
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.evaluation.segmentation.label_maps import LabelMaps, NetworkLabels
from utils.evaluation.segmentation.pairing import size_problem
from utils.evaluation.segmentation.scores import (
    ImageCounts,
    SegProtocol,
    SegScores,
    count_label_map,
)
from utils.evaluation.segmentation.tables import write_seg_csv
from utils.progress import progress


def count_label_maps(
    ground_truth: LabelMaps,
    predictions: LabelMaps,
    matches: Mapping[str, str],
    protocol: SegProtocol,
    *,
    workers: int,
    ranks: Ranks,
    counted: Mapping[str, ImageCounts] | None = None,
) -> dict[str, ImageCounts]:
    """The counts of all images by name, in the order of `matches`, the same on every rank.

    Args:
        ground_truth: Label maps by the names of the images.
        predictions: Label maps; a network predicts in this thread, files are read where they are
            counted.
        matches: Name in the ground truth -> name of its prediction.
        protocol: How the two are compared.
        workers: Threads that read and count on each rank; 0 does without. Threads are enough here:
            decoding and counting release Python's global lock.
        ranks: Each rank counts its share of the images.
        counted: Counts of images that this rank has already.
    """
    counted = dict(counted or {})
    mine = [name for name in list(matches)[ranks.rank :: ranks.world] if name not in counted]

    def count(name: str, predict: Callable[[], np.ndarray]) -> ImageCounts:
        files = predictions.where(matches[name]), ground_truth.where(name)
        return count_checked(predict(), ground_truth.load(name), protocol, files)

    def jobs() -> Iterator[Callable[[], ImageCounts]]:
        for name in mine:
            if isinstance(predictions, NetworkLabels):  # the network runs here, in order
                labels = predictions.load(matches[name])
                yield lambda name=name, labels=labels: count(name, lambda: labels)
            else:
                yield lambda name=name: count(name, lambda: predictions.load(matches[name]))

    # Closed at once whatever ends this, so that threads do not go on through the jobs that wait.
    with closing(_run(jobs(), workers)) as counts:
        results = progress(counts, total=len(mine), show=ranks.is_main and bool(mine))
        counted |= dict(zip(mine, results, strict=True))
    everyone = {
        name: counts for part in gather_objects(counted, ranks) for name, counts in part.items()
    }
    return {name: everyone[name] for name in matches}


def count_checked(
    pred: np.ndarray, label: np.ndarray, protocol: SegProtocol, files: tuple[str, str]
) -> ImageCounts:
    """`count_label_map`, with errors that name the files: of the prediction and the ground truth.

    InputError if the sizes differ; MemoryError if there is too little memory for them.
    """
    if pred.shape != label.shape:
        raise InputError(size_problem(files, pred.shape, label.shape))
    height, width = label.shape
    try:
        return count_label_map(pred, label, protocol)
    except MemoryError as error:
        raise MemoryError(f"{files[0]}: {width}x{height} pixels") from error
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            raise
        raise MemoryError(f"{files[0]}: {width}x{height} pixels") from error


def _run(
    jobs: Iterable[Callable[[], ImageCounts]], workers: int
) -> Generator[ImageCounts, None, None]:
    """Results in order. At most two jobs per worker wait, so memory stays bounded.

    InputError if the system starts no more threads.
    """
    if not workers:
        yield from (job() for job in jobs)
        return
    waiting: deque[Future[ImageCounts]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
            waiting.append(_submit(pool, job))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, job: Callable[[], ImageCounts]) -> Future[ImageCounts]:
    try:
        return pool.submit(job)
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise InputError(f"{error}: run again with fewer --workers") from error


def write_seg_results(folder: Path, scores: SegScores, source: Mapping[str, object]) -> None:
    """Write `metrics.json` and the CSV files. source: what was scored against what."""
    write_seg_csv(folder, scores)
    protocol = {"bounds": list(scores.protocol.bounds), "region": scores.protocol.region}
    document = {"task": "seg", "protocol": protocol, "source": source, "scores": scores.to_plain()}
    with write_aside(folder / "metrics.json") as aside:
        aside.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
