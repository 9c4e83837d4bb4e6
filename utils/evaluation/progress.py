"""The progress bar of a test."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], *, total: int, show: bool, initial: int = 0) -> Iterable[T]:
    """Pass `items` on and show how many images are done; in a log file, one line a minute.

    Args:
        items: One for each image.
        total: Number of images.
        show: False on all ranks but the main one.
        initial: Number of images that were done before.
    """
    delay, interval = (
        (0, 0.1) if sys.stderr.isatty() else (60, 60)
    )  # tqdm's own values, or a minute
    # smoothing 0: the time left follows from the mean over all images so far, not from the last
    # few, as the results of worker processes come in bursts.
    return tqdm(
        items,
        total=total,
        initial=initial,
        unit="image",
        smoothing=0,
        disable=not show,
        delay=delay,
        mininterval=interval,
    )
