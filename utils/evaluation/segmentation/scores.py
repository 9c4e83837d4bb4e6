"""From label maps to the counts of an image, from those of all images to the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from utils.evaluation.text_tables import number_or_null
from utils.seg_metrics import (
    PUBLISHED_BOUNDS,
    TRUE,
    boundary_counts,
    boundary_f_measure,
    boundary_iou_counts,
    class_accuracy,
    class_iou,
    confusion,
    frequency_weighted_iou,
    mean_iou,
    mean_of_numbers,
    pixel_accuracy,
    region_width,
    tolerance_pixels,
)

PIXEL_BOUNDS = (3.0, 5.0, 9.0, 12.0)
NO_TRUTH = "no ground truth"
# Beyond these a tolerance is most likely a slip, and matching would take hours.
HIGHEST_BOUND = 200  # pixels
HIGHEST_FRACTION = 0.1  # of the diagonal


@dataclass(frozen=True, slots=True)
class SegProtocol:
    """What is scored and how.

    Tolerances below 1 are fractions of the image's diagonal, others pixels. bounds: tolerances of
    boundary F. region: width of boundary IoU's regions; the default is that of the authors for
    Cityscapes, 0.5 % of the diagonal: 11 px at 2048x1024 (see `region_width`).
    """

    classes: tuple[str, ...]
    bounds: tuple[float, ...] = (*PIXEL_BOUNDS, *PUBLISHED_BOUNDS)
    region: float = 0.005

    def __post_init__(self) -> None:
        named = [("--boundary-iou", self.region), *(("--bounds", bound) for bound in self.bounds)]
        for flag, bound in named:
            if not (0 < bound <= HIGHEST_FRACTION or 1 <= bound <= HIGHEST_BOUND):
                raise InputError(
                    f"{flag} {bound:g}: expected a fraction of the diagonal (above 0, at most "
                    f"{HIGHEST_FRACTION:g}), or 1 to {HIGHEST_BOUND} pixels"
                )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """All that an image adds to the scores. K classes, B bounds.

    size: (H, W). confusion: int32 (K, K + 1), true class by predicted class, the last column for
    none. boundary: int32 (B, K, 4), see `boundary_counts`. region: int32 (K, 2), see
    `boundary_iou_counts`.
    """

    size: tuple[int, int]
    confusion: np.ndarray
    boundary: np.ndarray
    region: np.ndarray


def count_label_map(pred: np.ndarray, label: np.ndarray, protocol: SegProtocol) -> ImageCounts:
    """The counts of one image from its predicted and its true label map, each uint8 (H, W)."""
    classes = protocol.num_classes
    counts = (
        confusion(pred, label, classes, void=True),
        boundary_counts(pred, label, classes, protocol.bounds),
        boundary_iou_counts(pred, label, classes, protocol.region),
    )
    # int32 halves what the ranks exchange; no image has 2^31 pixels.
    height, width = label.shape
    return ImageCounts((height, width), *(part.astype(np.int32) for part in counts))


@dataclass(frozen=True)
class SegScores:
    """The scores over all images; fractions, nan where there is nothing to score.

    confusion: int64 (K, K + 1). iou, accuracy, boundary_iou: float64 (K,). f: float64 (B, K), each
    class's mean F over all images, as published (1 where an image has no boundary of the class).
    f_present: the same over the images in which the class has a true boundary. images: int64 (K,),
    the number of images that have the class. pixels: (lowest, highest) tolerance in pixels of each
    bound. region_pixels: (narrowest, widest) region of boundary IoU.
    """

    protocol: SegProtocol
    confusion: np.ndarray
    iou: np.ndarray
    accuracy: np.ndarray
    boundary_iou: np.ndarray
    f: np.ndarray
    f_present: np.ndarray
    images: np.ndarray
    pixels: tuple[tuple[float, float], ...]
    region_pixels: tuple[int, int]

    @property
    def nothing_scored(self) -> bool:
        """Whether no pixel of the ground truth has a class, so that nothing has a score."""
        return not self.confusion.any()

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that are true or predicted somewhere."""
        return mean_iou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        """Share of all labelled pixels that are right."""
        return pixel_accuracy(self.confusion)

    def to_plain(self) -> dict[str, object]:
        """The `scores` of `metrics.json`; see `utils.evaluation.segmentation.run`."""
        bounds = [
            {
                "bound": bound,
                "pixels": list(pixels),
                "published_mean": number_or_null(f.mean()),
                "mean": number_or_null(mean_of_numbers(present)),
            }
            for bound, pixels, f, present in zip(
                self.protocol.bounds, self.pixels, self.f, self.f_present, strict=True
            )
        ]
        return {
            "miou": number_or_null(self.miou),
            "pixel_accuracy": number_or_null(self.pixel_accuracy),
            "mean_accuracy": number_or_null(mean_of_numbers(self.accuracy)),
            "frequency_weighted_iou": number_or_null(frequency_weighted_iou(self.confusion)),
            "boundary_iou": number_or_null(mean_of_numbers(self.boundary_iou)),
            "boundary_iou_pixels": list(self.region_pixels),
            "boundary_f": bounds,
            "classes": [self._plain_class(k, name) for k, name in enumerate(self.protocol.classes)],
            "confusion": self.confusion.tolist(),
        }

    def _plain_class(self, k: int, name: str) -> dict[str, object]:
        true = int(self.confusion[k].sum())
        predicted = int(self.confusion[:, k].sum())
        return {
            "name": name,
            "status": "ok" if true else NO_TRUTH,
            "images": int(self.images[k]),
            "true_pixels": true,
            "predicted_pixels": predicted,
            "iou": number_or_null(self.iou[k]),
            "accuracy": number_or_null(self.accuracy[k]),
            "boundary_iou": number_or_null(self.boundary_iou[k]),
            "boundary_f": [number_or_null(f[k]) for f in self.f],
            "boundary_f_present": [number_or_null(f[k]) for f in self.f_present],
        }


def score_images(counts: Sequence[ImageCounts], protocol: SegProtocol) -> SegScores:
    """The scores from the counts of all images, at least one."""
    confusions = np.stack([each.confusion for each in counts])  # (images, K, K + 1)
    total = confusions.sum(axis=0, dtype=np.int64)
    region = np.stack([each.region for each in counts]).sum(axis=0, dtype=np.int64)
    boundary = np.stack([each.boundary for each in counts])  # (images, B, K, 4)
    f = boundary_f_measure(boundary)
    present = boundary[..., TRUE] > 0
    found = present.sum(axis=0)
    pixels = [[tolerance_pixels(bound, each.size) for each in counts] for bound in protocol.bounds]
    widths = [region_width(protocol.region, each.size) for each in counts]
    # F as published is 1 for a class that is nowhere. Where all classes are, it says nothing.
    mean_f = f.mean(axis=0) if total.any() else np.full(f.shape[1:], np.nan)
    return SegScores(
        protocol=protocol,
        confusion=total,
        iou=class_iou(total),
        accuracy=class_accuracy(total),
        boundary_iou=np.where(region[:, 1] > 0, region[:, 0] / np.maximum(region[:, 1], 1), np.nan),
        f=mean_f,
        f_present=np.where(found > 0, (f * present).sum(axis=0) / np.maximum(found, 1), np.nan),
        images=confusions.any(axis=2).sum(axis=0),
        pixels=tuple((float(min(each)), float(max(each))) for each in pixels),
        region_pixels=(min(widths), max(widths)),
    )


def image_quality(images: Sequence[ImageCounts]) -> np.ndarray:
    """The mIoU of each image over the classes in it, true or predicted: float64 (images,)."""
    return np.array([mean_iou(each.confusion) for each in images])
