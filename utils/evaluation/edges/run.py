"""Scoring semantic edges over a data set: from predictions, in memory or on disk, to `metrics.json`, tables and CSV.

`metrics.json`:

    task        "edge"
    protocol    every knob of `utils.evaluation.edges.protocols.Protocol` by name; `modes` lists what was scored
    source      what was scored against what: checkpoint or predictions, dataset, split or labels, the number of images
    scores      {"thin": {...}, "raw": {...}}, for each mode
        mean            {ods, ois, ap: over the classes that occur in the truth, classes: how many those are}
        published_mean  {ods, ois, ap: over all classes, 0 for those that do not occur}
        classes         [{name, status: "ok" | "no ground truth" | "no prediction",
                          images: how many have true edges of the class, true_pixels: in all of them,
                          ods {threshold, recall, precision, f}, ois {recall, precision, f}, ap, ap_sbd}, ...]
                        a class without ground truth has null for its figures

All figures are fractions, not percent. Beside it lie `scores.csv`, `curves.csv` (recall and precision at each
threshold) and `counts.npz` (the counts of every image, from which all of it is computed).
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor, wait
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm import tqdm

from data.errors import InputError
from data.files import write_aside
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.evaluation.edges.image_counts import ImageCounter, count_in_worker, start_worker
from utils.evaluation.edges.protocols import Protocol
from utils.evaluation.edges.scores import ModeScores, write_csv


def count_images(
    counter: ImageCounter,
    indices: Sequence[int],
    workers: int,
    ranks: Ranks,
    *,
    predict: Callable[[int], np.ndarray] | None = None,
) -> np.ndarray:
    """Counts of all images, int64 (images, M, K, T, 4), the same for any number of workers and ranks, on every rank.

    workers: processes of each rank; 0 counts in this one. predict: scores uint16 (K, h, w) of an image, computed in
    this process while the workers count; None: the workers read files.
    """
    mine = list(indices)[ranks.rank :: ranks.world]
    counts = {i: taken for i in mine if (taken := counter.taken_up(i)) is not None}
    todo = [i for i in mine if i not in counts]
    if counts and ranks.is_main:
        print(f"taking up {len(counts)} images that an interrupted run has counted")
    # smoothing 0: the time left follows from the mean over all images so far, not from the last few. In a log file, one
    # line a minute.
    pace = {} if sys.stderr.isatty() else {"delay": 60, "mininterval": 60}
    bar = tqdm(
        total=len(mine),
        initial=len(counts),
        unit="image",
        smoothing=0,
        disable=not ranks.is_main,
        **pace,
    )
    with bar:
        results = (
            _spread(counter, todo, predict, workers)
            if workers
            else _count_here(counter, todo, predict)
        )
        for index, counted in results:
            counts[index] = counted
            bar.update()
    everyone = {i: c for part in gather_objects(counts, ranks) for i, c in part.items()}
    return np.stack([everyone[i] for i in indices])


def _count_here(
    counter: ImageCounter, todo: Sequence[int], predict: Callable[[int], np.ndarray] | None
) -> Iterator[tuple[int, np.ndarray]]:
    for index in todo:
        yield index, counter.count(index, None if predict is None else predict(index))


def _spread(
    counter: ImageCounter,
    todo: Sequence[int],
    predict: Callable[[int], np.ndarray] | None,
    workers: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Results in the order in which they come. At most two images per worker wait, so memory stays bounded."""
    with _pool(counter, min(workers, max(1, len(todo)))) as pool:
        waiting = set()
        for index in todo:
            if len(waiting) >= 2 * workers:
                done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
                yield from (future.result() for future in done)
            waiting.add(
                pool.submit(count_in_worker, index, None if predict is None else predict(index))
            )
        while waiting:
            done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
            yield from (future.result() for future in done)


@contextmanager
def _pool(counter: ImageCounter, workers: int) -> Iterator[ProcessPoolExecutor]:
    # loky starts fresh processes (a fork after torch has started its threads can hang), and it does not import the
    # calling script, so that workers do without torch.
    pool = ProcessPoolExecutor(workers, initializer=start_worker, initargs=(counter,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory; run again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def metrics_document(scores: Sequence[ModeScores], protocol: Protocol, source: dict) -> dict:
    """The contents of `metrics.json`."""
    knobs = protocol.knobs() | {"modes": list(protocol.modes)}
    return {
        "task": "edge",
        "protocol": knobs,
        "source": source,
        "scores": {s.mode: s.to_plain() for s in scores},
    }


def write_results(
    folder: Path,
    scores: Sequence[ModeScores],
    counts: np.ndarray,
    protocol: Protocol,
    origin: dict[str, object],
    names: Sequence[str],
) -> None:
    """`metrics.json`, the CSV files and `counts.npz`. origin: what was scored; names: of the images."""
    with write_aside(folder / "counts.npz") as aside, aside.open("wb") as file:
        np.savez_compressed(file, counts=counts.astype(np.int32), names=np.array(names))
    write_csv(folder, scores, protocol)
    document = metrics_document(scores, protocol, origin)
    with write_aside(folder / "metrics.json") as aside:
        aside.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
