"""Where the scores of each image come from: a network that is run here, or files."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data.base import Dataset
from data.errors import InputError
from data.files import file_sha256
from data.names import match_names
from utils.evaluation.edges.counter import ONE_VARIANT
from utils.evaluation.edges.ground_truth import EdgeGroundTruth, sizes_in_words
from utils.evaluation.edges.ground_truth_files import same_aspect
from utils.evaluation.edges.predictions import PredictionFiles, PredictionFolder
from utils.inference.predictor import Predictor
from utils.inference.scores import quantize

SHOWN = 10  # files of a kind that are listed by name


class NetworkSource:
    """Scores by a network on a data set's images, quantized as `predict.py --save-prob` does.

    variants: names of the scores that each image has; one without a name where there is nothing to
    tell apart. binary: those of the variants that hold nothing but edge or no edge.
    indices: the images to score, numbered as in the ground truth. image_files: by these indices.
    origin: what is scored, for `metrics.json`. identity: what the scores depend on, beside files
    that are compared image by image.

    Args:
        checkpoint: the file of the predictor's network, which `origin` names.
        predictor: the network and how images go through it.
        dataset: the images.
        truth: the ground truth; InputError unless each of its images is in the data set, and has
            the ground truth's aspect ratio.
    """

    files = None
    variants = ONE_VARIANT
    binary: frozenset[str] = frozenset()

    def __init__(
        self, checkpoint: Path, predictor: Predictor, dataset: Dataset, truth: EdgeGroundTruth
    ) -> None:
        self.predictor = predictor
        self.dataset = dataset
        self.images = match_images(truth, dataset)
        require_image_sizes(truth, dataset, self.images)
        lacking = [name for i, name in enumerate(truth.names) if i not in self.images]
        if lacking:
            raise InputError(
                f"{dataset.name} {dataset.split} has no image {lacking[0]} "
                f"({len(lacking)} labels are without one)"
            )
        self.indices = list(range(len(truth.names)))
        records = [dataset.records[self.images[i]] for i in self.indices]
        self.image_files = {
            i: r.image for i, r in zip(self.indices, records, strict=True) if r.image
        }
        self.origin: dict[str, object] = {
            "checkpoint": str(checkpoint),
            "sha256": file_sha256(checkpoint),
            **predictor.options_of_scores(),
        }
        # The same network elsewhere is the same; another kind of device rounds otherwise.
        self.identity: dict[str, object] = {
            **self.origin,
            "checkpoint": "",
            "device": predictor.device.type,
        }

    def scores(self, index: int) -> np.ndarray:
        """uint16 (K, H, W), at the image's own size."""
        image = self.dataset.read_image(self.dataset.records[self.images[index]])
        return quantize(self.predictor.scores(image))


class FileSource:
    """Scores from files; the constructor checks all names and headers, before the long part starts.

    predictions, truth: matched by name, see `match_files`. is_main: print what is missing or extra.
    The attributes are those of `NetworkSource`.
    """

    variants = ONE_VARIANT

    def __init__(
        self,
        predictions: PredictionFolder,
        truth: EdgeGroundTruth,
        *,
        allow_missing: bool,
        is_main: bool,
    ) -> None:
        keys = match_files(
            truth,
            predictions,
            allow_missing=allow_missing,
            report=_to_stderr if is_main else _nowhere,
        )
        self.files = PredictionFiles(predictions, keys)
        self.image_files: dict[int, Path] = {}
        self.binary = frozenset(ONE_VARIANT if predictions.are_binary(keys.values()) else ())
        self.indices = sorted(keys)
        self.origin: dict[str, object] = {
            "predictions": str(predictions.root),
            "without_prediction": len(truth.names) - len(keys),
        }
        self.identity = "files"

    def scores(self, index: int) -> Iterable[np.ndarray]:
        """(h, w) of each class in turn."""
        return self.files.read(index)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _nowhere(text: str) -> None:
    """For the other ranks: the main one reports it."""


def match_images(truth: EdgeGroundTruth, dataset: Dataset) -> dict[int, int]:
    """Index in the ground truth -> index in the data set, by name; those without are left out."""
    where = {record.name: i for i, record in enumerate(dataset.records)}
    return {
        i: where[found]
        for i, found in _indexed(match_names(truth.names, where), truth.names).items()
    }


def require_image_sizes(
    truth: EdgeGroundTruth, dataset: Dataset, images: Mapping[int, int]
) -> None:
    """InputError unless images and ground truth have one aspect ratio, to within a pixel.

    Ground truth from files may be of any scale. images: as `match_images` returns them.
    """
    for index, place in images.items():
        record = dataset.records[place]
        if record.image is None:
            continue
        size, true_size = dataset.image_size(record), truth.size(index)
        if not same_aspect(size, true_size):
            raise InputError(
                f"{truth.paths(index)[0]}: the ground truth is {sizes_in_words([true_size])}, "
                f"but its image {record.image} is {sizes_in_words([size])}"
            )


def _indexed(matches: dict[str, str], names: Sequence[str]) -> dict[int, str]:
    return {i: matches[name] for i, name in enumerate(names) if name in matches}


def match_files(
    truth: EdgeGroundTruth,
    predictions: PredictionFolder,
    *,
    allow_missing: bool,
    report: Callable[[str], None],
) -> dict[int, str]:
    """Index of each image -> name of its prediction, after a look at all names and headers.

    Missing and mis-sized predictions are an InputError, unless `allow_missing` leaves the missing
    ones out; extra ones are only reported. A prediction is mis-sized if its aspect ratio is not the
    truth's to within a pixel.
    """
    matches = match_names(truth.names, predictions.names)
    indices = {
        i: key for i, key in _indexed(matches, truth.names).items() if not predictions.missing(key)
    }
    lacking = [name for name in truth.names if name not in matches]
    lacking += [str(path) for key in matches.values() for path in predictions.missing(key)]
    extra = sorted(set(predictions.names) - set(matches.values()))
    wrong = [
        message for i, key in indices.items() for message in _mis_sized(truth, i, predictions, key)
    ]
    for files, what in ((lacking, "missing"), (extra, "extra (not scored)"), (wrong, "mis-sized")):
        _list_files(files, what, report)
    if wrong or not indices or (lacking and not allow_missing):
        remedy = "mend them" if wrong else "complete them, or score the rest with --allow-missing"
        raise InputError(
            f"{predictions.root}: for {len(truth.names)} images, {len(lacking)} files are missing "
            f"and {len(wrong)} mis-sized, as listed above; {remedy}"
        )
    return indices


def _mis_sized(
    truth: EdgeGroundTruth, index: int, predictions: PredictionFolder, key: str
) -> list[str]:
    true_size = truth.size(index)
    return [
        f"{key}: {sizes_in_words([size])}, the truth is {sizes_in_words([true_size])}"
        for size in sorted(predictions.sizes(key))
        if not same_aspect(size, true_size)
    ]


def _list_files(files: Sequence[str], what: str, report: Callable[[str], None]) -> None:
    if files:
        more = f"\n  … and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        report(f"{len(files)} {what}:\n  " + "\n  ".join(files[:SHOWN]) + more)
