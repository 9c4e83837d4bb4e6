"""Precision and recall of edge maps, by exact matching.

`match`, `evaluate_image` and `summarize` are the contract.
"""

from utils.edge_metrics.evaluate import evaluate_both, evaluate_image, match
from utils.edge_metrics.summary import (
    MATCHED_PREDICTED,
    MATCHED_TRUE,
    PREDICTED,
    TRUE,
    Point,
    Summary,
    default_thresholds,
    f_measure,
    summarize,
)

__all__ = [
    "MATCHED_PREDICTED",
    "MATCHED_TRUE",
    "PREDICTED",
    "TRUE",
    "Point",
    "Summary",
    "default_thresholds",
    "evaluate_both",
    "evaluate_image",
    "f_measure",
    "match",
    "summarize",
]
