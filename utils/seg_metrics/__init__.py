"""Scores of a label map against the true one: confusion matrix and IoU, boundary F, boundary IoU.

Label maps are integer (H, W), one id per pixel: classes 0..K-1. K and above is ignored in the
ground truth, and no class in a prediction.
"""

from utils.seg_metrics.boundary import (
    MATCHED_PREDICTED,
    MATCHED_TRUE,
    PREDICTED,
    PUBLISHED_BOUNDS,
    TRUE,
    boundary_counts,
    boundary_f,
    boundary_f_measure,
    boundary_iou_counts,
    boundary_region,
    label_boundaries,
    region_width,
    tolerance_pixels,
)
from utils.seg_metrics.iou import (
    class_accuracy,
    class_iou,
    confusion,
    frequency_weighted_iou,
    mean_iou,
    mean_of_numbers,
    pixel_accuracy,
)

__all__ = [
    "MATCHED_PREDICTED",
    "MATCHED_TRUE",
    "PREDICTED",
    "PUBLISHED_BOUNDS",
    "TRUE",
    "boundary_counts",
    "boundary_f",
    "boundary_f_measure",
    "boundary_iou_counts",
    "boundary_region",
    "class_accuracy",
    "class_iou",
    "confusion",
    "frequency_weighted_iou",
    "label_boundaries",
    "mean_iou",
    "mean_of_numbers",
    "pixel_accuracy",
    "region_width",
    "tolerance_pixels",
]
