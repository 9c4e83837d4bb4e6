"""The frames of a video file or a camera, by OpenCV, with their times."""

import contextlib
import math
import os
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2

from data.errors import InputError
from data.files import require_file
from data.image_io import MAX_PIXELS
from utils.prediction.inputs import camera_number
from utils.prediction.overlap import Frame

USUAL_RATE = Fraction(25)  # where a file or a camera does not say
MOST_FRAMES = 10**9  # a header that promises more says nothing
# A file that has fewer frames than it promises is a broken one, but for a few at its ends.
SLACK_FRAMES, SLACK_SHARE = 2, 0.02

# Containers that state the number of frames.
COUNTING = (".3gp", ".avi", ".m4v", ".mov", ".mp4")


class Reader:
    """An open video or camera: `read` returns its frames, upright, then None.

    InputError for a file that is no video, and for a camera that is not there.

    Attributes: rate, frames a second. frames, the number that the file promises, 0 if it does not
    say. is_camera. counted: the file states its frames; others state how long they are, sound
    included, from which OpenCV estimates the number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        number = camera_number(path)
        self.is_camera = number is not None
        self.done = 0  # frames that were read
        self.first_time: float | None = None
        self.last_time = 0.0  # seconds after the first
        with quiet_decoders():
            self.capture = _open_file(path) if number is None else cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise InputError(_cannot_open(path, number))
        self.rate = _rate(self.capture.get(cv2.CAP_PROP_FPS))
        promised = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        known = not self.is_camera and 0 < promised < MOST_FRAMES
        self.frames = round(promised) if known else 0
        self.counted = path.suffix.lower() in COUNTING
        width, height = (
            self.capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: found frames of {width:.0f}x{height:.0f}, which is too many")

    def read(self) -> Frame | None:
        """The next frame; None at the end, or where the rest cannot be decoded."""
        there, image = self.capture.read()
        if not there or image is None:
            return None
        # OpenCV's position after a read is the time of the frame just read.
        now = time.monotonic() if self.is_camera else self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self.first_time is None:
            self.first_time = now
        self.done += 1
        self.last_time = now - self.first_time
        return Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.last_time)

    @property
    def is_short(self) -> bool:
        """Whether far less could be read than the file promises, both frames and seconds.

        An estimate (see `counted`) is far off if the rate varies.
        """
        by_time = ((self.first_time or 0.0) + self.last_time) * float(self.rate) + 1
        slack = max(SLACK_FRAMES, SLACK_SHARE * self.frames)
        return self.frames - max(self.done, by_time) > slack

    def close(self) -> None:
        self.capture.release()


def _open_file(path: Path) -> cv2.VideoCapture:
    require_file(path, "video")
    require_encodable(path)
    # An absolute path is no address of FFmpeg's, whatever the name. FFmpeg turns the frames of
    # phones upright, as the file says.
    return cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)  # noqa: PTH100


def require_encodable(path: Path) -> None:
    """InputError for a path with bytes that are no UTF-8: libraries for videos take text."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: the name is no UTF-8, as a video's must be; rename it"
        ) from error


def _cannot_open(path: Path, number: int | None) -> str:
    if number is None:
        return f"{path}: is no video that can be read: empty, damaged, or of another kind"
    return (
        f"{path}: there is no camera {number}, or another program has it, or you may not use it; "
        "the first camera is camera:0"
    )


def _rate(given: float) -> Fraction:
    """30000/1001 of 29.97002997."""
    if not math.isfinite(given) or not 0 < given <= 1000:
        return USUAL_RATE
    return Fraction(given).limit_denominator(1001) or USUAL_RATE


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Without what OpenCV and FFmpeg print of files that they cannot open: we say it in a line."""
    # FFmpeg's: read once, when OpenCV first opens a video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)
