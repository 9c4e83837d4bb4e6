"""Videos through the net: frames are read ahead, drawn and compressed beside it, in their order."""

import contextlib
import itertools
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from data.errors import InputError
from data.files import write_aside
from utils.inference.drawing import Choice
from utils.inference.predictor import Predictor
from utils.model_info import ModelInfo
from utils.prediction.done import Done
from utils.prediction.outputs import write_outputs
from utils.prediction.overlap import (
    AHEAD,
    Frame,
    NetClock,
    Pending,
    ends_run,
    read_ahead,
    writer_count,
)
from utils.prediction.results import Result
from utils.prediction.video.encoders import Encoder, even_sides, open_encoder
from utils.prediction.video.files import VideoFiles, draw_frame
from utils.prediction.video.reader import Reader
from utils.progress import progress_bar


def predict_videos(
    videos: Mapping[Path, VideoFiles],
    predictor: Predictor,
    *,
    choice: Choice | None,
    max_frames: int | None,
    show: bool,
) -> Done:
    """Write the files of each video and camera; returns what was done and what failed.

    Args:
        videos: the outputs of each.
        predictor: the network.
        choice: which edges are drawn; None for segmentation.
        max_frames: of each video; None: all.
        show: a progress bar for each, or a line a minute in a log file.
    """
    done = Done()
    for path, files in videos.items():
        try:
            with contextlib.closing(Reader(path)) as reader:
                _predict_video(reader, files, predictor, choice, max_frames, show, done)
        except Exception as error:
            if ends_run(error):
                raise
            done.failures[path] = error
    return done


def _predict_video(
    reader: Reader,
    files: VideoFiles,
    predictor: Predictor,
    choice: Choice | None,
    max_frames: int | None,
    show: bool,
    done: Done,
) -> None:
    """One video, of which either all files appear or none; a camera's appear however it ends."""
    ended: BaseException | None = None
    total = min(reader.frames or max_frames or 0, max_frames or reader.frames) or None
    with (
        VideoWriter(reader, files, predictor.info, choice) as writer,
        progress_bar(total, show=show, unit="frame", title=reader.path.name) as bar,
    ):
        try:
            _predict_frames(reader, writer, predictor, max_frames, bar, done.clock)
        except BaseException as error:
            if not reader.is_camera:
                raise
            ended = error  # a recording cannot be repeated: what there is, is kept
        if not writer.frames:
            raise ended or InputError(f"{reader.path}: no frame can be read")
        writer.finish()
    done.frames += writer.frames
    done.notes |= writer.notes
    if ended is not None and not isinstance(ended, KeyboardInterrupt):
        raise ended
    limited = max_frames is not None and writer.frames >= max_frames
    stopped = reader.is_camera and ended is None and not limited
    short = reader.is_short and not limited
    if stopped or (short and reader.counted):
        raise InputError(_incomplete(reader, writer))
    if short:
        done.notes.add(
            f"note: {reader.path}: {writer.frames} frames could be read, and its length is that of "
            f"{reader.frames}: either its sound is longer, or the file is cut off"
        )


def _incomplete(reader: Reader, writer: "VideoWriter") -> str:
    kept = f"they are in {', '.join(map(str, writer.paths))}"
    if reader.is_camera:
        return f"{reader.path}: the camera stopped after {writer.frames} frames; {kept}"
    return (
        f"{reader.path}: {writer.frames} of {reader.frames} frames can be read, the file is cut "
        f"off or damaged; {kept}"
    )


def _predict_frames(
    reader: Reader,
    writer: "VideoWriter",
    predictor: Predictor,
    max_frames: int | None,
    bar: "tqdm[NoReturn]",
    clock: NetClock,
) -> None:
    repeats = () if max_frames is None else (max_frames,)
    jobs = itertools.repeat(reader.read, *repeats)
    # One thread: the frames come one after the other. Of a camera one, so that it is a new one.
    ahead = 1 if reader.is_camera else AHEAD
    with contextlib.closing(read_ahead(jobs, readers=1, ahead=ahead)) as frames:
        for future in frames:
            with clock.of("images"):
                frame = future.result()
            if frame is None:
                return
            with clock.of("net"):
                result = Result.of(predictor, frame.image, writer.choice)
            with clock.of("files"):
                writer.add(frame, result)
            bar.update()


class VideoWriter:
    """Draws frames in several threads, and compresses them in their order in one.

    As a context: the files appear at its end, all of them, if `finish` has been called and nothing
    was raised; else none does.

    Attributes: frames, the number of those added. paths, of the videos. notes, for the user.
    """

    def __init__(
        self, reader: Reader, files: VideoFiles, info: ModelInfo, choice: Choice | None
    ) -> None:
        self.reader = reader
        self.files = files
        self.info = info
        self.choice = choice
        self.frames = 0
        self.size: tuple[int, ...] = ()
        self.notes: set[str] = set()
        self.drawing = ThreadPoolExecutor(writer_count(), "draw")
        self.encoding = ThreadPoolExecutor(1, "encode")
        self.pending = Pending()
        self.encoders: dict[str, Encoder] = {}
        self.asides = contextlib.ExitStack()

    @property
    def paths(self) -> list[Path]:
        return [path for paths in self.files.videos.values() for path in paths]

    def add(self, frame: Frame, result: Result) -> None:
        """The next frame and what the net returned for it; waits while too many are held."""
        self.frames += 1
        self.size = self.size or frame.image.shape
        if frame.image.shape != self.size:
            before, now = (f"{shape[1]}x{shape[0]}" for shape in (self.size, frame.image.shape))
            raise InputError(
                f"{self.reader.path}: frame {self.frames} is {now}, those before are {before}; "
                "convert it to one size"
            )
        drawn = self.drawing.submit(self._draw, self.frames, frame, result)
        size = frame.image.nbytes + result.nbytes
        self.pending.add(
            self.reader.path, self.encoding.submit(self._encode, drawn, frame.time), size
        )

    def finish(self) -> None:
        """Wait for all frames and complete the files."""
        self.pending.wait_for_all()
        while self.encoders:
            _, encoder = self.encoders.popitem()
            self.notes |= {encoder.note} - {""}
            encoder.close()

    def _draw(self, number: int, frame: Frame, result: Result) -> dict[str, np.ndarray]:
        own = self.files.of_frame(number, self.info)
        if any(own.values()):
            write_outputs(own, frame.image, result, self.info, self.choice)
        drawn = draw_frame(self.files.videos, frame.image, result, self.info, self.choice)
        return {kind: even_sides(image) for kind, image in drawn.items()}

    def _encode(self, drawn: "Future[dict[str, np.ndarray]]", time: float) -> None:
        for kind, image in drawn.result().items():
            if kind not in self.encoders:
                (path,) = self.files.videos[kind]
                aside = self.asides.enter_context(write_aside(path))
                height, width = image.shape[:2]
                self.encoders[kind] = open_encoder(aside, (height, width), self.reader.rate)
            self.encoders[kind].write(image, time)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in (self.encoding, self.drawing):
            pool.shutdown(cancel_futures=True)
        for encoder in self.encoders.values():
            encoder.abort()
        self.asides.__exit__(kind, error, trace)
