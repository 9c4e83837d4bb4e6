"""Which files a run of predict.py will write, and for which inputs: decided before any is."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import InputError, Terminated
from data.files import require_writable
from utils.model_info import ModelInfo
from utils.prediction.image_files import Failures, output_names
from utils.prediction.inputs import camera_number, is_video
from utils.prediction.outputs import Files, OutputChoice, check_outputs, output_files
from utils.prediction.page.index import require_no_page
from utils.prediction.video.files import VideoFiles, check_frame_folders, video_files


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        images: the files to write for each image.
        videos: likewise for each video and camera.
        names: NAME of each image, also of those that are there already or cannot be written.
        failures: the inputs whose files cannot be written.
        there: those whose files are all there already.
        notes: what the user should know.
    """

    images: dict[Path, Files]
    videos: dict[Path, VideoFiles]
    names: dict[Path, str] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    there: frozenset[Path] = frozenset()
    notes: frozenset[str] = frozenset()

    def share(self, rank: int, world: int) -> "Plan":
        """What one of the ranks does: every `world`-th image and video."""
        images = list(self.images.items())[rank::world]
        videos = list(self.videos.items())[rank::world]
        return Plan(dict(images), dict(videos))


@contextlib.contextmanager
def says_how_to_go_on(plan: Plan, *, overwrite: bool, show: bool) -> Iterator[None]:
    """If a signal ends the block, it says how much is done, and which flag goes on from there.

    Not with `overwrite`: files of an earlier run would count as done. show: of several ranks one
    is enough, and they would count at different moments.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        if show and not overwrite and (plan.images or plan.videos):
            files = [*plan.images.values(), *(own.videos for own in plan.videos.values())]
            done = len(plan.there) + sum(map(is_complete, files))
            total = len(plan.there) + len(files)
            what = "images" if not plan.videos else "inputs"
            stop.args = (f"{done} of {total} {what} are done: --skip-existing goes on",)
        raise


def make_plan(
    found: Mapping[Path, Path],
    out: Path,
    choice: OutputChoice,
    info: ModelInfo,
    *,
    checkpoint: Path,
    overwrite: bool,
    skip_existing: bool = False,
    save_frames: bool = False,
) -> Plan:
    """The files to write for each input. Nothing has been written yet.

    InputError if a file may not be written.

    Args:
        found: what `find_images` found: each input and its path below the output folder.
        out: the output folder.
        choice: what is written.
        info: of the net.
        checkpoint: of the net; it is not written over.
        overwrite: replace files of an earlier run.
        skip_existing: leave out the inputs whose files are all there, as an interrupted run left
            them.
        save_frames: write the files of an image for each frame of a video, too.
    """
    names = output_names(found)
    videos = {
        path: video_files(out, name, info, choice, all_kinds=save_frames)
        for path, name in names.items()
        if is_video(path)
    }
    images = {
        path: output_files(out, name, info, choice)
        for path, name in names.items()
        if path not in videos
    }
    if save_frames and not videos:
        raise InputError("--save-frames is for videos, and there is none among the inputs")
    files = {**images, **{path: own.videos for path, own in videos.items()}}
    replace = overwrite or skip_existing
    failures = check_outputs(files, checkpoint, overwrite=replace)
    check_frame_folders(images, videos, info, replace=replace)
    if choice.page:
        require_no_page(out, checkpoint, overwrite=replace)
    require_writable(out)
    there = {path for path, own in files.items() if skip_existing and is_complete(own)}
    left = failures.keys() | there
    return Plan(
        {path: own for path, own in images.items() if path not in left},
        # Cameras last: they end when somebody ends them.
        {
            path: videos[path]
            for path in sorted(videos, key=lambda path: camera_number(path) is not None)
            if path not in left
        },
        {path: names[path] for path in images},
        failures,
        frozenset(there),
        frozenset(_stale_notes({path: files[path] for path in there}, checkpoint)),
    )


def is_complete(files: Files) -> bool:
    """Whether all files are there: each appears under its name when it is complete.

    An empty file is none: a power cut may leave such.
    """
    return all(_size(path) for paths in files.values() for path in paths)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stale_notes(there: Mapping[Path, Files], checkpoint: Path) -> list[str]:
    """What is there may be of another net or of an older image: only times can tell."""
    times = {
        source: min(path.stat().st_mtime for paths in own.values() for path in paths)
        for source, own in there.items()
    }
    net = checkpoint.stat().st_mtime
    of_other_net = sum(time < net for time in times.values())
    of_older_image = sum(
        source.stat().st_mtime > time for source, time in times.items() if source.exists()
    )
    redo = "give --overwrite to write all again"
    notes = []
    if of_other_net:
        notes.append(
            f"note: {_of(of_other_net)} older than {checkpoint} and may be of another net; {redo}"
        )
    if of_older_image:
        notes.append(f"note: {_of(of_older_image)} older than the input; {redo}")
    return notes


def _of(count: int) -> str:
    return f"of {count} input{'s' * (count != 1)}, the files that are there are"
