"""The progress bar of a test or a prediction."""

import io
import sys
from collections.abc import Iterable
from typing import NoReturn, TypeVar

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
    with progress_bar(total, show=show, initial=initial) as bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(
    total: int | None,
    *,
    show: bool,
    initial: int = 0,
    unit: str = "image",
    title: str | None = None,
) -> "tqdm[NoReturn]":
    """A bar with the time left, to be updated by hand; in a log file, one line a minute.

    Args:
        total: Number of images or frames; None if nobody knows.
        show: False on all ranks but the main one.
        initial: Number of those that were done before.
        unit: What is counted.
        title: Of the bar.
    """
    terminal = sys.stderr.isatty()
    delay, interval = (0, 0.1) if terminal else (60, 60)  # tqdm's own values, or a minute
    # smoothing 0: the time left follows from the mean over all images so far, not from the last
    # few, as the results of worker processes come in bursts.
    return tqdm(
        total=total,
        desc=title,
        initial=initial,
        unit=unit,
        smoothing=0,
        disable=not show,
        delay=delay,
        mininterval=interval,
        maxinterval=max(interval, 10),  # after which tqdm would print whatever `mininterval` says
        file=None if terminal else Lines(),
    )


class Lines(io.StringIO):
    """What tqdm writes to: stderr, with a line for each state of a bar."""

    def write(self, text: str) -> int:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)
        return len(text)
