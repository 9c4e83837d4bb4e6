"""Images through a network and into files: reading, drawing and compressing go on beside it."""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from data.errors import users_to_mend
from data.image_io import read_header
from utils.inference.drawing import Choice
from utils.inference.predictor import Predictor
from utils.prediction.done import Done
from utils.prediction.outputs import Files, write_outputs
from utils.prediction.overlap import Frame, Pending, read_ahead, writer_count
from utils.prediction.results import Result
from utils.progress import progress_bar


def predict_images(
    files: Mapping[Path, Files],
    predictor: Predictor,
    *,
    upright: bool,
    choice: Choice | None,
    show: bool,
) -> Done:
    """Write the files of each image; returns what was done and what failed.

    Args:
        files: the outputs of each image.
        predictor: the network.
        upright: turn photographs as their EXIF data say.
        choice: which edges are drawn; None for segmentation without outlines.
        show: a progress bar on a terminal, or a line a minute in a log file.
    """
    done = Done()
    clock = done.clock
    # A few images wait for the net and a few results to be written, so memory stays bounded.
    jobs = (partial(_read, predictor, path, upright) for path in files)
    with (
        ThreadPoolExecutor(writer_count(), "write") as pool,
        contextlib.closing(read_ahead(jobs)) as frames,
        progress_bar(len(files), show=show) as bar,
    ):
        pending = Pending(done.failures)
        for (path, own_files), future in zip(files.items(), frames, strict=True):
            try:
                with clock.of("images"):
                    frame = future.result()
                assert frame is not None
                done.turned += frame.turned
                with clock.of("net"):
                    result = Result.of(predictor, frame.image, choice)
            except Exception as error:
                if not users_to_mend(error):
                    raise
                done.failures[path] = error
            else:
                image = frame.image
                with clock.of("files"):
                    written = pool.submit(
                        write_outputs, own_files, image, result, predictor.info, choice, path
                    )
                    pending.add(path, written, image.nbytes + result.nbytes)
            finally:
                bar.update()
        pending.wait_for_all()
    done.failures = {path: done.failures[path] for path in files if path in done.failures}
    return done


def _read(predictor: Predictor, path: Path, upright: bool) -> Frame:
    image = predictor.read(path, upright=upright)
    return Frame(image, turned=read_header(path).orientation != 1)
