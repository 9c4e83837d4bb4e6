"""Scoring semantic edges over a data set: the counts of all images, and the files of a result.

`metrics.json`:

    task        "edge"
    protocol    every knob of `protocols.EdgeProtocol` by name, null for those without effect;
                `modes` lists what was scored. `max_dist_px`, in place of a `max_dist` of null,
                and `classes`, the names of those that were chosen, stand there only where they
                were asked for
    source      what was scored against what: checkpoint or predictions, dataset, split or labels,
                the number of images; `variant` where the source gives several scores
    scores      {"thin": {...}, "raw": {...}}, for each mode
        note            where predictions are binary: they have no average precision and no best
                        threshold, null
        mean            {ods, ois, ap: over the classes that occur in the ground truth,
                         classes: how many those are}
        published_mean  {ods, ois, ap: over all classes, 0 for those that do not occur}
        classes         [{name, status: "ok" | "no ground truth" | "no prediction",
                          images: how many have true edges of the class,
                          true_pixels: in all of them, ods {threshold, recall, precision, f},
                          ois {recall, precision, f}, ap, ap_sbd}, ...]
                        a class without ground truth has null for its figures
    crispness   with --crisp: {mean, classes: [{name, crispness,
                images: how many the class responds in}, ...]}, see `edge_metrics.crispness`
    calibration with --calibration: {bins, mean: {ece, nll, classes: how many they are over},
                classes: [{name, ece, mean_probability, true_share: of all pixels,
                           curve: [{pixels, mean_probability, true_share} of each bin]}, ...]}, see
                `edge_metrics.calibration`

All figures are fractions, not percent. Beside it lie `scores.csv`, `curves.csv` (recall and
precision at each threshold), with the last two `crispness.csv` and `calibration.csv`, and
`counts.npz` (`counts`, int32 (images, modes, classes, thresholds,
4), from which all of it is computed, `names` of the images, and the other entries of the images'
records, see `image_counts`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from data.files import write_aside
from utils.distributed.environment import Ranks
from utils.distributed.group import gather_objects
from utils.evaluation.edges.image_counts import COUNTS, ImageScores, Record, Stack
from utils.evaluation.edges.partial import ResumableCounter
from utils.evaluation.edges.protocols import EdgeProtocol
from utils.evaluation.edges.quality.tables import Quality, write_quality
from utils.evaluation.edges.scores import ModeScores
from utils.evaluation.edges.tables import write_edge_csv
from utils.evaluation.edges.workers import count_each
from utils.evaluation.text_tables import readable
from utils.progress import progress


def count_edge_images(
    counter: ResumableCounter,
    indices: Sequence[int],
    workers: int,
    ranks: Ranks,
    *,
    predict: Callable[[int], Stack | ImageScores] | None = None,
) -> Record:
    """The records of all images, in the order of `indices`: entries (images, V, ...).

    They are the same for any number of workers and ranks, on every rank.

    Args:
        counter: Counts one image; its saved counts are used where there are any.
        indices: The images to count, numbered as in the ground truth.
        workers: Processes of each rank; 0 counts in this one.
        ranks: Each rank counts its share of the images.
        predict: Scores of an image as arrays, computed in this process while the workers count;
            None: the workers read files.
    """
    mine = list(indices)[ranks.rank :: ranks.world]
    records = {i: saved for i in mine if (saved := counter.saved(i)) is not None}
    remaining = [i for i in mine if i not in records]
    if records and ranks.is_main:
        print(f"resuming: {len(records)} images were counted by an interrupted run")
    # Closed here however it ends, so that no process outlives this function.
    with closing(count_each(counter, remaining, workers, predict)) as results:
        shown = progress(results, total=len(mine), initial=len(records), show=ranks.is_main)
        records |= dict(shown)
    everyone = {i: each for part in gather_objects(records, ranks) for i, each in part.items()}
    names = everyone[indices[0]]
    return {name: np.stack([everyone[i][name] for i in indices]) for name in names}


def metrics_document(
    scores: Sequence[ModeScores],
    protocol: EdgeProtocol,
    source: Mapping[str, object],
    quality: Quality | None = None,
) -> dict[str, object]:
    """The contents of `metrics.json`."""
    return {
        "task": "edge",
        "protocol": {**protocol.knobs(), "modes": list(protocol.modes)},
        "source": {name: readable(value) for name, value in source.items()},
        "scores": {each.mode: each.to_plain() for each in scores},
        **(quality.to_plain() if quality else {}),
    }


def write_edge_results(
    folder: Path,
    scores: Sequence[ModeScores],
    record: Record,
    protocol: EdgeProtocol,
    origin: Mapping[str, object],
    names: Sequence[str],
    quality: Quality | None = None,
) -> None:
    """Write `metrics.json`, the CSV files and `counts.npz`, each whole or not at all.

    Args:
        folder: Where to.
        scores: Of each mode, from the counts.
        record: Entries (images, ...) of this result.
        protocol: How it was scored.
        origin: What was scored against what, the `source` of `metrics.json`.
        names: Of the images, in the order of the record.
        quality: What was measured beside matched pixels.
    """
    stored = record | {COUNTS: record[COUNTS].astype(np.int32), "names": np.array(names)}
    with write_aside(folder / "counts.npz") as aside, aside.open("wb") as file:
        # No entry has the name of an argument.
        np.savez_compressed(file, **stored)  # pyright: ignore[reportArgumentType]
    write_edge_csv(folder, scores, protocol)
    document = metrics_document(scores, protocol, origin, quality)
    if quality:
        write_quality(folder, quality, {part: document[part] for part in ("source", "protocol")})
    with write_aside(folder / "metrics.json") as aside:
        aside.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
