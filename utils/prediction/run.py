"""Images through a network and into files: drawing and compressing go on beside the network."""

import errno
import sys
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.errors import users_to_mend
from data.files import require_writable
from data.image_io import read_header
from utils.inference.edge_lines import EdgeChoice
from utils.inference.predictor import Predictor
from utils.model_info import ModelInfo
from utils.prediction.image_files import Failures, output_names, reason_of
from utils.prediction.outputs import (
    Files,
    OutputChoice,
    check_outputs,
    output_files,
    write_outputs,
)
from utils.prediction.page.index import require_no_page

# Threads that draw and compress while the network goes on; a Cityscapes image takes over a second.
WRITERS = 4
PENDING_BYTES = 1 << 28  # of results that wait to be written
# What keeps a file from being written will keep the next ones from it, too.
ENDS_RUN = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))


def plan(
    found: dict[Path, Path],
    out: Path,
    choice: OutputChoice,
    info: ModelInfo,
    *,
    checkpoint: Path,
    overwrite: bool,
) -> tuple[dict[Path, Files], Failures]:
    """The files to write for each image, and the images whose files cannot be written.

    InputError if a file may not be written.

    Args:
        found: what `find_images` found: each image and its path below the output folder.
        out: the output folder.
        choice: what is written.
        info: of the net.
        checkpoint: of the net; it is not written over.
        overwrite: replace files of an earlier run.
    """
    files = {
        path: output_files(out, name, info, choice) for path, name in output_names(found).items()
    }
    failures = check_outputs(files, checkpoint, overwrite=overwrite)
    if choice.page:
        require_no_page(out, checkpoint, overwrite=overwrite)
    require_writable(out)
    return {path: own for path, own in files.items() if path not in failures}, failures


def predict_images(
    files: Mapping[Path, Files],
    predictor: Predictor,
    *,
    upright: bool,
    choice: EdgeChoice | None,
    show: bool,
) -> tuple[Failures, int]:
    """Write the files of each image.

    Returns the images that failed, with the reason, and the number of images that EXIF data turn.

    Args:
        files: the outputs of each image.
        predictor: the network.
        upright: turn photographs as their EXIF data say.
        choice: which edges are drawn; None for segmentation.
        show: a progress bar, on a terminal.
    """
    failures: Failures = {}
    turned = 0
    with ThreadPoolExecutor(WRITERS) as pool:
        # A few results wait to be written, so memory stays bounded.
        pending = Pending(failures)
        for path, own_files in tqdm(files.items(), unit="image", disable=None if show else True):
            try:
                image = predictor.read(path, upright=upright)
                turned += read_header(path).orientation != 1
                result = predictor(image)
            except Exception as error:
                if not users_to_mend(error):
                    raise
                failures[path] = error
                continue
            written = pool.submit(write_outputs, own_files, image, result, predictor.info, choice)
            pending.add(path, written, image.nbytes + result.nbytes)
        pending.wait_for_all()
    return failures, turned


class Pending:
    """The images that are being written.

    failures: gets those that could not be; what would fail for all images is raised.
    """

    def __init__(self, failures: Failures) -> None:
        self.failures = failures
        self.images: deque[tuple[Path, Future[None], int]] = deque()

    def add(self, path: Path, written: "Future[None]", size: int) -> None:
        """Another image, whose result has `size` bytes; waits while there are too many."""
        self.images.append((path, written, size))
        while len(self.images) > WRITERS or sum(held for *_, held in self.images) > PENDING_BYTES:
            self._wait_for_first()

    def wait_for_all(self) -> None:
        """Until all are written."""
        while self.images:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        path, written, _ = self.images.popleft()
        try:
            written.result()
        except Exception as error:
            if not users_to_mend(error) or getattr(error, "errno", None) in ENDS_RUN:
                raise
            self.failures[path] = error


def report(
    out: Path, images: Collection[Path], failures: Mapping[Path, Exception], turned: int
) -> None:
    """Say where the results are, which inputs failed, and what may surprise.

    turned: the number of images that EXIF data turn and that were taken as stored.
    """
    done = sum(path not in failures for path in images)
    print(f"{done} of {len(images)} images predicted: see {out}")
    for path, error in failures.items():
        print(f"failed: {path}: {reason_of(path, error)}", file=sys.stderr)
    if turned:
        carry, they = ("image carries", "it is") if turned == 1 else ("images carry", "they are")
        print(
            f"note: {turned} {carry} an EXIF orientation; {they} predicted as stored, "
            f"--upright turns {'it' if turned == 1 else 'them'}",
            file=sys.stderr,
        )
