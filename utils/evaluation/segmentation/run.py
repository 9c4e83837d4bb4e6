"""Scoring segmentation over a data set: from label maps, predicted here or read from files, to `metrics.json`, tables and CSV.

`metrics.json`:

    task        "seg"
    protocol    {bounds, region}: see `utils.evaluation.segmentation.scores.SegProtocol`
    source      what was scored against what: checkpoint or predictions, inference modes, dataset, split or labels, the number of images
    scores
        miou, pixel_accuracy, mean_accuracy, frequency_weighted_iou
        boundary_iou    mean over the classes that occur
        boundary_f      [{bound, pixels [lowest, highest over the images],
                          published_mean: over all classes and images, 1 where neither map has a boundary of the class,
                          mean: over classes, of the mean over the images in which the class has a true boundary}, ...]
        classes         [{name, status: "ok" | "no ground truth", images, true_pixels, predicted_pixels, iou, accuracy, boundary_iou,
                          boundary_f, boundary_f_present: one figure per bound}, ...]
        confusion       pixels, a row per true class, a column per predicted class and one for none

All figures are fractions, not percent; null where there is nothing to score. Beside it lie `scores.csv` and `confusion.csv`.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.base import Dataset
from data.errors import InputError
from data.files import write_aside
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.evaluation.file_names import match_names
from utils.evaluation.segmentation.label_maps import LabelMaps, NetworkLabels
from utils.evaluation.segmentation.report import Shown
from utils.evaluation.segmentation.scores import (
    ImageCounts,
    SegProtocol,
    SegScores,
    count_image,
)
from utils.evaluation.segmentation.tables import write_csv


def count_images(
    truth: LabelMaps,
    predictions: LabelMaps,
    matches: dict[str, str],
    protocol: SegProtocol,
    *,
    workers: int,
    ranks: Ranks,
) -> dict[str, ImageCounts]:
    """The counts of all images by name, in the order of `matches`, the same on every rank; each image is counted once.

    workers: threads that read and count on each rank (decoding and counting do without Python's lock); 0 does without.
    """
    mine = list(matches)[ranks.rank :: ranks.world]

    def count(name: str, predict: Callable[[], np.ndarray]) -> ImageCounts:
        return count_checked(predict(), truth.load(name), protocol, name)

    def jobs() -> Iterator[Callable[[], ImageCounts]]:
        for name in mine:
            if isinstance(predictions, NetworkLabels):  # the network runs here, in order
                labels = predictions.load(matches[name])
                yield lambda name=name, labels=labels: count(name, lambda: labels)
            else:
                yield lambda name=name: count(name, lambda: predictions.load(matches[name]))

    pace = {} if sys.stderr.isatty() else {"delay": 60, "mininterval": 60}
    results = tqdm(
        _run(jobs(), workers), total=len(mine), unit="image", disable=not ranks.is_main, **pace
    )
    counted = dict(zip(mine, results, strict=True))
    everyone = {
        name: counts for part in gather_objects(counted, ranks) for name, counts in part.items()
    }
    return {name: everyone[name] for name in matches}


def count_checked(
    pred: np.ndarray, label: np.ndarray, protocol: SegProtocol, name: str
) -> ImageCounts:
    """`count_image`; an InputError that names the image if the sizes differ."""
    if pred.shape != label.shape:
        raise InputError(
            f"{name}: the prediction is {pred.shape[1]}x{pred.shape[0]}, the truth {label.shape[1]}x{label.shape[0]}; "
            "label maps must have the size of the truth"
        )
    return count_image(pred, label, protocol)


def shower(
    truth: LabelMaps, predictions: LabelMaps, matches: dict[str, str], dataset: Dataset | None
) -> Callable[[int], Shown]:
    """What the report shows of an image, by its place in `matches`."""
    names = list(matches)
    found = match_names(names, [record.name for record in dataset.records]) if dataset else {}
    records = {record.name: record for record in dataset.records} if dataset else {}

    def show(index: int) -> Shown:
        name = names[index]
        image = dataset.read_image(records[found[name]]) if name in found else None
        return Shown(name, image, truth.load(name), predictions.load(matches[name]))

    return show


def _run(jobs: Iterable[Callable[[], ImageCounts]], workers: int) -> Iterator[ImageCounts]:
    """Results in order. At most two jobs per worker wait, so memory stays bounded."""
    if not workers:
        yield from (job() for job in jobs)
        return
    waiting: deque[Future] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(job))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def write_results(folder: Path, scores: SegScores, source: dict[str, object]) -> None:
    """`metrics.json` and the CSV files."""
    write_csv(folder, scores)
    protocol = {"bounds": list(scores.protocol.bounds), "region": scores.protocol.region}
    document = {"task": "seg", "protocol": protocol, "source": source, "scores": scores.to_plain()}
    with write_aside(folder / "metrics.json") as aside:
        aside.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
