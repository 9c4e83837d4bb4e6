"""Videos that browsers play: H.264 by PyAV where it is installed, else what OpenCV writes.

OpenCV's package has no H.264 encoder (its licence); it has VP9, which browsers play, too, at a
constant rate and slowly.
"""

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from data.errors import InputError
from utils.prediction.video.reader import quiet_decoders, require_encodable

QUALITY = {"crf": "18", "preset": "veryfast"}  # 0 is lossless, 23 x264's own default
TICKS = 90_000  # at least this many time steps a second
BT709 = 1  # the colours of HD video, in FFmpeg's numbers
VP9_NOTE = (
    "note: videos are VP9 at a constant rate, which OpenCV writes slowly; pip install av gives "
    "H.264, which plays everywhere and keeps the time of each frame"
)
MP4V_NOTE = (
    "note: videos are MPEG-4 Part 2 at a constant rate, which browsers may not play; pip install "
    "av gives H.264"
)


class Encoder(Protocol):
    """An open video file. note: what the user should know of its kind, or ""."""

    note: str

    def write(self, image: np.ndarray, time: float) -> None:
        """Another frame, uint8 (H, W, 3), of the first one's size. time: seconds."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...

    def abort(self) -> None:
        """Close it; what has been written will be removed."""
        ...


def open_encoder(path: Path, size: tuple[int, int], rate: Fraction) -> Encoder:
    """An MP4 file of frames (height, width), both even, at `path`, whatever its ending but .mp4."""
    require_encodable(path)
    library = _av()
    if library is not None:
        return H264Encoder(library, path, size, rate)
    return OpenCvEncoder(path, size, rate)


def even_sides(image: np.ndarray) -> np.ndarray:
    """The image with its last column and row repeated where a side is odd: H.264 halves colours."""
    below, right = image.shape[0] % 2, image.shape[1] % 2
    if below or right:
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return image


def _av() -> Any:
    """PyAV, an optional package; None where it, or x264 in it, is missing."""
    try:
        import av
    except ImportError:
        return None
    return av if "libx264" in av.codecs_available else None


class H264Encoder:
    """H.264 by PyAV: 8 bits, 4:2:0, index at the front; each frame at its own time."""

    note = ""

    def __init__(self, library: Any, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self.av = library
        self.rate = rate
        # A whole number of steps for each frame at a constant rate, such as 30000/1001.
        self.steps = rate.numerator * math.ceil(TICKS / rate.numerator)
        self.last = -1
        # "faststart": players can begin before they have all of the file.
        self.container = library.open(
            str(path), "w", format="mp4", options={"movflags": "+faststart"}
        )
        self.stream = self.container.add_stream("libx264", rate=rate, options=QUALITY)
        self.stream.height, self.stream.width = size
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        context.time_base = Fraction(1, self.steps)
        context.color_primaries = context.color_trc = context.colorspace = BT709

    def write(self, image: np.ndarray, time: float) -> None:
        frame = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=BT709)
        # Times have to rise; files that hold none, or wrong ones, get the rate's.
        each = self.steps // self.rate
        step = round(time * self.steps)
        self.last = step if step > self.last or self.last < 0 else self.last + each
        frame.pts = self.last
        frame.time_base = Fraction(1, self.steps)
        frame.duration = each
        self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self.container.close()


class OpenCvEncoder:
    """VP9 by OpenCV, or MPEG-4 Part 2 where it has no VP9; at a constant rate."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self.path = path
        self.inner = path.with_suffix(".mp4")  # the ending chooses the container
        self.frames = 0
        for code, note in (("vp09", VP9_NOTE), ("mp4v", MP4V_NOTE)):
            with quiet_decoders():
                self.writer = cv2.VideoWriter(
                    str(self.inner),
                    cv2.CAP_FFMPEG,
                    cv2.VideoWriter.fourcc(*code),
                    float(rate),
                    size[::-1],
                )
            if self.writer.isOpened():
                self.note = note
                return
        self.inner.unlink(missing_ok=True)
        raise InputError(f"{path}: OpenCV here can write no MP4; pip install av")

    def write(self, image: np.ndarray, time: float) -> None:
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        self.writer.release()
        # A full disk is no error to OpenCV.
        with quiet_decoders():
            check = cv2.VideoCapture(str(self.inner), cv2.CAP_FFMPEG)
        found = round(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found != self.frames:
            self.inner.unlink(missing_ok=True)
            raise InputError(
                f"{self.path}: {found} of {self.frames} frames were written; is the disk full?"
            )
        self.inner.replace(self.path)

    def abort(self) -> None:
        self.writer.release()
        self.inner.unlink(missing_ok=True)
