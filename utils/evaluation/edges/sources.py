"""Where the scores of each image come from: a network that is run here, or files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data.base import Dataset
from data.errors import InputError
from data.files import file_sha256
from data.names import match_names
from utils.evaluation.edges.counter import ONE_VARIANT, ScoreFiles
from utils.evaluation.edges.ground_truth import EdgeGroundTruth, sizes_in_words
from utils.evaluation.edges.ground_truth_files import FolderGroundTruth, same_aspect
from utils.evaluation.edges.image_counts import ImageScores, Stack
from utils.evaluation.edges.predictions import PredictionFiles, PredictionFolder
from utils.evaluation.inputs import report_to
from utils.inference.predictor import Predictor
from utils.inference.scores import quantize

SHOWN = 10  # files of a kind that are listed by name


class EdgeSource(Protocol):
    """Scores of images.

    variants: names of the scores that each image has; one without a name where there is nothing to
    tell apart. binary: those of the variants that hold nothing but edge or no edge. classes: those
    whose scores `scores` gives; None: all.
    indices: the images to score, numbered as in the ground truth. files: read by the processes that
    count; None: `scores` makes them here. image_files: what they are made from, by these indices.
    origin: what is scored, for `metrics.json`. identity: what the scores depend on, beside files
    that are compared image by image.
    """

    @property
    def variants(self) -> tuple[str, ...]: ...
    @property
    def binary(self) -> frozenset[str]: ...
    @property
    def classes(self) -> tuple[int, ...] | None: ...
    @property
    def indices(self) -> list[int]: ...
    @property
    def files(self) -> ScoreFiles | None: ...
    @property
    def image_files(self) -> dict[int, Path]: ...
    @property
    def origin(self) -> Mapping[str, object]: ...
    @property
    def identity(self) -> object: ...

    def origin_of(self, variant: str, /) -> Mapping[str, object]:
        """What the scores of a variant are, for `metrics.json`."""
        ...

    def scores(self, index: int) -> Stack | ImageScores:
        """Of an image: of the one variant, or of each by name."""
        ...


class NetworkSource:
    """Scores by a network on a data set's images, quantized as `predict.py --save-prob` does.

    An `EdgeSource`.

    Args:
        checkpoint: the file of the predictor's network, which `origin` names.
        predictor: the network and how images go through it.
        dataset: the images.
        truth: the ground truth; InputError unless each of its images is in the data set, and has
            the ground truth's aspect ratio.
        classes: those that are scored; None: all.
    """

    files = None
    variants = ONE_VARIANT
    binary: frozenset[str] = frozenset()

    def __init__(
        self,
        checkpoint: Path,
        predictor: Predictor,
        dataset: Dataset,
        truth: EdgeGroundTruth,
        classes: tuple[int, ...] | None = None,
    ) -> None:
        self.predictor = predictor
        self.classes = classes
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
            "model": predictor.info.name,
            "backbone": predictor.info.backbone,
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

    def origin_of(self, _variant: str, /) -> Mapping[str, object]:
        """Nothing, as there is one variant."""
        return {}

    def scores(self, index: int) -> Stack | ImageScores:
        """uint16 (K, H, W), at the image's own size."""
        image = self.dataset.read_image(self.dataset.records[self.images[index]])
        scores = self.predictor.scores(image)
        return quantize(scores if self.classes is None else scores[list(self.classes)])


class FileSource:
    """Scores from files; the constructor checks all names and headers, before the long part starts.

    predictions, truth: matched by name, see `match_files`. is_main: print what is missing or extra.
    An `EdgeSource`.
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
            report=report_to(is_main),
        )
        self.files = PredictionFiles(predictions, keys)
        self.classes = predictions.classes
        self.image_files: dict[int, Path] = {}
        self.binary = frozenset(ONE_VARIANT if predictions.are_binary(keys.values()) else ())
        self.indices = sorted(keys)
        self.origin: dict[str, object] = {
            "predictions": str(predictions.root),
            "without_prediction": len(truth.names) - len(keys),
        }
        self.identity = "files"

    def origin_of(self, _variant: str, /) -> Mapping[str, object]:
        """Nothing, as there is one variant."""
        return {}

    def scores(self, index: int) -> Iterable[np.ndarray]:
        """(h, w) of each class in turn."""
        return self.files.read(index)


def image_places(
    source: EdgeSource, truth: EdgeGroundTruth, dataset: Dataset | None
) -> Mapping[int, int]:
    """Index in the ground truth -> index in the data set; InputError if their sizes differ."""
    if dataset is None:
        return {}
    if isinstance(source, NetworkSource):
        return source.images
    places = match_images(truth, dataset)
    if isinstance(truth, FolderGroundTruth):
        require_image_sizes(truth, dataset, places)
    return places


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
    require_complete(
        predictions.root,
        len(truth.names),
        lacking=lacking,
        extra=extra,
        wrong=wrong,
        allow_missing=allow_missing and bool(indices),
        report=report,
    )
    return indices


def require_complete(
    root: Path,
    images: int,
    *,
    lacking: Sequence[str],
    extra: Sequence[str],
    wrong: Sequence[str],
    allow_missing: bool,
    report: Callable[[str], None],
) -> None:
    """List the files that are missing, extra or mis-sized; InputError unless all can be scored.

    Args:
        root: of the predictions.
        images: the number of them.
        lacking: missing files, or images without one.
        extra: predictions that belong to no image.
        wrong: mis-sized ones, a line each.
        allow_missing: only the mis-sized ones are an error.
        report: prints the lists.
    """
    for files, what in ((lacking, "missing"), (extra, "extra (not scored)"), (wrong, "mis-sized")):
        _list_files(files, what, report)
    if wrong or (lacking and not allow_missing):
        remedy = "mend them" if wrong else "complete them, or score the rest with --allow-missing"
        raise InputError(
            f"{root}: for {images} images, {len(lacking)} files are missing and {len(wrong)} "
            f"mis-sized, as listed above; {remedy}"
        )


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
