"""Where the edges of a segmentation come from: a net that is run here, or anybody's label maps."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from data.base import Dataset
from data.edges import scale_between
from data.errors import InputError
from utils.evaluation.edges.derived import HARD, HEAD, RULES, SOFT, EdgeMaking
from utils.evaluation.edges.ground_truth import EdgeGroundTruth, sizes_in_words
from utils.evaluation.edges.image_counts import ImageScores, Stack
from utils.evaluation.edges.label_map_files import LabelMapFiles
from utils.evaluation.edges.sources import (
    NetworkSource,
    match_images,
    require_complete,
)
from utils.evaluation.inputs import report_to
from utils.evaluation.label_files import FolderLabels, match_label_names
from utils.inference.predictor import Predictor
from utils.inference.scores import quantize

EDGES_OF = {HEAD: "edge head of the net", **RULES}
VERSION = 1  # goes up when edges are made otherwise, so that counts of older code are not used


class SegNetSource(NetworkSource):
    """Edges by a net for segmentation: derived ones, and those of its edge head if it has one.

    One pass of the net over an image gives all of them, and the label map.

    Args:
        checkpoint: see `NetworkSource`, as for the other arguments that it has.
        predictor: of a net for segmentation.
        dataset: the images.
        truth: the ground truth; InputError if its size is none that edges of the images can have.
        variants: of HEAD, HARD and SOFT, in this order.
        making: how edges are derived.
    """

    def __init__(
        self,
        checkpoint: Path,
        predictor: Predictor,
        dataset: Dataset,
        truth: EdgeGroundTruth,
        *,
        variants: tuple[str, ...],
        making: EdgeMaking,
    ) -> None:
        super().__init__(checkpoint, predictor, dataset, truth, making.classes)
        self.variants = variants
        self.binary = frozenset({HARD}.intersection(variants))
        self.making = making
        self.identity |= {"edges": "of a segmentation net", "version": VERSION}
        # Called with the name of each image and its label map, uint8 (H, W).
        self.take_labels: Callable[[str, np.ndarray], None] | None = None
        self.scales: dict[int, float] = {}
        for index in self.indices if variants != (HEAD,) else ():
            record = dataset.records[self.images[index]]
            size = dataset.image_size(record)
            self.scales[index] = require_scale(truth, index, size, str(record.image))

    def origin_of(self, variant: str, /) -> dict[str, object]:
        """What the edges of a variant are, for `metrics.json`."""
        return {"edges": EDGES_OF[variant]}

    def scores(self, index: int) -> ImageScores:
        """Of each variant, as wide as the image (the head's) or as the ground truth."""
        record = self.dataset.records[self.images[index]]
        image = self.dataset.read_image(record)
        labels, logits, edges = self._run(image)
        if labels is not None and self.take_labels is not None:
            self.take_labels(record.name, labels)
        scores: dict[str, Stack | Mapping[str, Stack]] = {}
        if edges is not None:
            chosen = self.making.chosen
            scores[HEAD] = quantize(edges if len(chosen) == len(edges) else edges[list(chosen)])
        if labels is not None and HARD in self.variants:
            scores[HARD] = self.making.hard(labels, self.scales[index])
        if logits is not None:
            scores[SOFT] = self.making.soft(logits, self.scales[index])
        return scores

    def _run(
        self, image: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """What one pass of the net gives, as far as it is needed: labels, logits, edges."""
        predictor, head = self.predictor, HEAD in self.variants
        if SOFT in self.variants:
            maps = predictor.outputs(image, ("seg", "fuse") if head else ("seg",))
            # Chosen as the predictor does it, so that ties are the same.
            labels = torch.from_numpy(maps["seg"]).argmax(dim=0).to(torch.uint8).numpy()
            return labels, maps["seg"], maps.get("fuse")
        if not head:
            return predictor(image), None, None
        if HARD in self.variants or self.take_labels is not None:
            labels, edges = predictor.both(image)
            return labels, None, edges
        return None, None, predictor.scores(image, output="fuse")


class LabelMapSource:
    """Edges of anybody's label maps; the constructor checks all names and headers.

    An `EdgeSource`.

    Args:
        folder: the label maps.
        truth: the ground truth.
        dataset: the images, whose size label maps must have; None: where only the files are known.
        making: how edges are derived.
        allow_missing: score only the images that have a label map.
        is_main: print what is missing or extra.
    """

    variants = (HARD,)
    binary = frozenset({HARD})

    def __init__(
        self,
        folder: FolderLabels,
        truth: EdgeGroundTruth,
        dataset: Dataset | None,
        making: EdgeMaking,
        *,
        allow_missing: bool,
        is_main: bool,
    ) -> None:
        keys = _match_maps(
            folder, truth, dataset, allow_missing=allow_missing, report=report_to(is_main)
        )
        scales = {
            i: require_scale(truth, i, folder.size(key), folder.where(key))
            for i, key in keys.items()
        }
        self.classes = making.classes
        self.files = LabelMapFiles(folder, keys, scales, making)
        self.classes = making.classes
        self.image_files: dict[int, Path] = {}
        self.indices = sorted(keys)
        self.origin: dict[str, object] = {
            **folder.origin,
            "without_prediction": len(truth.names) - len(keys),
        }
        self.identity = ("label maps", VERSION, folder.num_classes, folder.label_ids, folder.colors)

    def origin_of(self, variant: str, /) -> dict[str, object]:
        """What the edges of a variant are, for `metrics.json`."""
        return {"edges": EDGES_OF[variant]}

    def scores(self, index: int) -> ImageScores:
        """The hard edges of one image."""
        return self.files.read(index)


def require_scale(truth: EdgeGroundTruth, index: int, size: tuple[int, int], where: str) -> float:
    """The size of an image's ground truth relative to its label map of `size` (H, W).

    InputError that names `where`, the file, if it is none that the making of edges can give.
    """
    true_size = truth.size(index)
    usual = (1.0, 0.5) if truth.scale is None else (truth.scale, 1.0, 0.5)
    scale = scale_between(size, true_size, usual)
    if scale is None:
        raise InputError(
            f"{where}: is {sizes_in_words([size])}, the ground truth {truth.paths(index)[0]} is "
            f"{sizes_in_words([true_size])}; edges are derived at the ground truth's size, so a "
            "label map must have the same shape, and not be smaller"
        )
    return scale


def _match_maps(
    folder: FolderLabels,
    truth: EdgeGroundTruth,
    dataset: Dataset | None,
    *,
    allow_missing: bool,
    report: Callable[[str], None],
) -> dict[int, str]:
    """Index of each image -> name of its label map, after a look at all names and headers.

    Arguments and errors as of `match_files`. A label map is mis-sized if its image, or without one
    its ground truth, has another size.
    """
    matches = match_label_names(truth.names, folder.names)
    keys = {i: matches[name] for i, name in enumerate(truth.names) if name in matches}
    require_complete(
        Path(folder.root),
        len(truth.names),
        lacking=[name for name in truth.names if name not in matches],
        extra=sorted(set(folder.names) - set(matches.values())),
        wrong=_mis_sized(folder, keys, truth, dataset),
        allow_missing=allow_missing and bool(keys),
        report=report,
    )
    return keys


def _mis_sized(
    folder: FolderLabels, keys: dict[int, str], truth: EdgeGroundTruth, dataset: Dataset | None
) -> list[str]:
    """A line for each label map that does not have the size of its image."""
    if dataset is None:
        return []
    wrong = []
    for index, place in match_images(truth, dataset).items():
        record = dataset.records[place]
        if index not in keys or record.image is None:
            continue
        found, size = folder.size(keys[index]), dataset.image_size(record)
        if found != size:
            shown = sizes_in_words([found]), sizes_in_words([size])
            wrong.append(f"{folder.where(keys[index])}: {shown[0]}, its image is {shown[1]}")
    return wrong
