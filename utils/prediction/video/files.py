"""The files that predict.py leaves for a video: videos of drawings, and files of single frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.files import resolved
from data.visualize import add_legend, color_labels
from utils.inference.drawing import Choice, DrawnEdges, beside
from utils.model_info import ModelInfo
from utils.prediction.outputs import (
    EDGES_BESIDE,
    EDGES_OVERLAY,
    Files,
    OutputChoice,
    output_files,
)
from utils.prediction.results import Result

# What an image gets without a flag, or what a video has in another form.
USUAL_KINDS = frozenset(
    {"edges", "colors", "overlay", "side by side", "labels", EDGES_OVERLAY, EDGES_BESIDE}
)
NEVER_KINDS = frozenset({"page"})  # what is for images alone


@dataclass(frozen=True)
class VideoFiles:
    """Where a video's results go.

    Args:
        videos: kind of drawing -> the one file, in a list as in `output_files`.
        out: the output folder.
        name: of the video in it; single frames go to NAME/000001 and so on.
        choice: what is written of single frames.
        all_kinds: of single frames, also what an image gets without flags.
    """

    videos: Files
    out: Path
    name: str
    choice: OutputChoice
    all_kinds: bool

    def of_frame(self, number: int, info: ModelInfo) -> Files:
        """The files of a frame, counted from 1; lists may be empty."""
        files = output_files(self.out, f"{self.name}/{number:06d}", info, self.choice)
        left = NEVER_KINDS if self.all_kinds else NEVER_KINDS | USUAL_KINDS
        return {kind: [] if kind in left else paths for kind, paths in files.items()}

    def frame_folders(self, info: ModelInfo) -> set[Path]:
        """The folders that hold nothing but files of single frames."""
        return {path.parent for paths in self.of_frame(1, info).values() for path in paths}


def video_files(
    out: Path, name: str, info: ModelInfo, choice: OutputChoice, *, all_kinds: bool
) -> VideoFiles:
    """The files of the video `name` in the folder `out`; see `VideoFiles`.

    The overlay, or without it the drawing; side by side and outlines, if they are chosen. Of a
    segmentation with edges of its own, likewise the edges'.
    """
    kinds = ["overlay" if choice.overlay else "edges" if info.task == "edge" else "colors"]
    kinds += ["side by side"] if choice.side_by_side else []
    if info.task == "seg" and choice.edges:
        kinds += [EDGES_OVERLAY if choice.overlay else "edges"]
        kinds += [EDGES_BESIDE] if choice.side_by_side else []
    kinds += ["edges"] if choice.outlines else []
    videos = {kind: [out / f"{name}_{kind.replace(' ', '_')}.mp4"] for kind in kinds}
    return VideoFiles(videos, out, name, choice, all_kinds)


def check_frame_folders(
    images: Mapping[Path, Files],
    videos: Mapping[Path, VideoFiles],
    info: ModelInfo,
    *,
    replace: bool,
) -> None:
    """InputError if frames would be written among other files.

    Args:
        images: the outputs of all images.
        videos: those of all videos.
        info: of the net.
        replace: frames of an earlier run may be replaced.
    """
    owners: dict[Path, Path] = {}
    for video, files in videos.items():
        for folder in files.frame_folders(info):
            if owners.setdefault(resolved(folder), video) != video:
                raise InputError(f"the frames of two videos would both be written to {folder}")
            if not replace and folder.is_dir() and any(folder.iterdir()):
                raise InputError(
                    f"{folder} has files already; give --overwrite or another --out for the frames "
                    f"of {video}"
                )
    if not owners:
        return
    others = {**images, **{video: files.videos for video, files in videos.items()}}
    for source, kinds in others.items():
        for path in (path for paths in kinds.values() for path in paths):
            owner = owners.get(resolved(path.parent))
            if owner is not None:
                raise InputError(
                    f"{path} of {source} would lie among the frames of {owner}; rename one, or "
                    "give them two output folders"
                )


def draw_frame(
    kinds: Files, image: np.ndarray, result: Result, info: ModelInfo, choice: Choice | None
) -> dict[str, np.ndarray]:
    """The drawings of one frame, by kind: uint8 (H', W', 3), RGB, of the same size for all frames.

    The overlay has the frame's size; the others have a legend of all classes below.

    Args:
        kinds: those of `VideoFiles.videos`.
        image: uint8 (H, W, 3), RGB.
        result: what the net said of it.
        info: classes and colours.
        choice: which edges are drawn; None for segmentation without outlines.
    """
    edges = None if choice is None else DrawnEdges(result.chosen_in(choice), info, choice)
    colors = None if result.labels is None else color_labels(result.labels, info.palette)
    found: dict[str, np.ndarray] = {}
    for kind in kinds:
        of_edges = (
            edges if colors is None or kind in ("edges", EDGES_OVERLAY, EDGES_BESIDE) else None
        )
        if kind in ("overlay", EDGES_OVERLAY):
            found[kind] = over_image(image, of_edges, colors)
            continue
        bare = colors if of_edges is None else of_edges.drawing
        assert bare is not None
        bare = beside(image, bare) if kind in ("side by side", EDGES_BESIDE) else bare
        found[kind] = add_legend(bare, range(info.num_classes), info.classes, info.palette)
    return found


def over_image(
    image: np.ndarray, edges: DrawnEdges | None, colors: np.ndarray | None
) -> np.ndarray:
    """uint8 (H, W, 3): edges over their image, or without them the colours of a segmentation."""
    if edges is not None:
        return edges.over(image)
    assert colors is not None
    return cv2.addWeighted(image, 0.5, colors, 0.5, 0)
