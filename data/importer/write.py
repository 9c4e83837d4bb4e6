"""What is written of one image, in a worker: label map, instance map, and the image itself."""

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.files import resolved, write_aside
from data.image_io import IGNORE, Header, read_header, read_image, write_png
from data.image_io.decode import decode
from data.image_io.header import header_of
from data.importer.annotations import NONE_ID, Drawer, Drawing
from data.importer.state import Made

# What file systems answer that cannot link, or not from there.
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP, errno.ENOSYS)
DECODE = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
MAX_BINS = 1 << 22  # of counts by class and object; above that sorting takes less memory


@dataclass(frozen=True)
class Targets:
    """The files of one image below `out`. image: its path below images/, with the ending."""

    out: Path
    name: str
    image: str

    @property
    def image_path(self) -> Path:
        return self.out / "images" / self.image

    @property
    def label_path(self) -> Path:
        return self.out / "labels" / f"{self.name}.png"

    @property
    def instance_path(self) -> Path:
        return self.out / "instances" / f"{self.name}.png"


@dataclass(frozen=True)
class ImageMaker:
    """Draws and writes one image's files. Called in a worker, so it holds plain data.

    Args:
        targets: what to write.
        source: the image's file.
        embedded: returns its bytes where there is no file.
        draw: makes the maps.
        size: (H, W) of the image as it is seen.
        table: uint8 (256,), id of the drawing -> id to write.
        link: the image is a hard link where that is possible.
        digest: of what all this is made of.
    """

    targets: Targets
    source: Path
    embedded: Callable[[], bytes] | None
    draw: Drawer
    size: tuple[int, int]
    table: np.ndarray
    link: bool
    digest: str

    def __call__(self) -> Made:
        """Write the maps, and the image last: `data.folder` wants a label for each image."""
        self._require_readable()
        drawing = self.draw(self.size)
        label, instance = self._checked(drawing)
        write_png(self.targets.label_path, label)
        if instance is not None:
            write_png(self.targets.instance_path, instance)
        else:  # that of an earlier run, when there were objects, is of other labels
            self.targets.instance_path.unlink(missing_ok=True)
        self._write_image()
        return Made(
            self.digest,
            self.targets.image,
            instance is not None,
            count_classes(label, instance),
            drawing.notes,
        )

    def _require_readable(self) -> None:
        """InputError for a damaged image, which would end a training in its midst."""
        if self.embedded:
            content = self.embedded()
            decode(content, header_of(io.BytesIO(content), self.source), self.source, DECODE)
        else:
            read_image(self.source)

    def _checked(self, drawing: Drawing) -> tuple[np.ndarray, np.ndarray | None]:
        """The maps to write: in the ids of the folder, and no object where there is no class."""
        for what, found in (("label map", drawing.label), ("instance map", drawing.instance)):
            if found is not None and found.shape != self.size:
                height, width = self.size
                raise InputError(
                    f"{self.source}: is {width}x{height}, and its {what} "
                    f"{found.shape[1]}x{found.shape[0]}; expected one size"
                )
        label = self.table[drawing.label]
        if drawing.instance is None:
            return label, None
        return label, np.where((label == NONE_ID) | (label == IGNORE), 0, drawing.instance).astype(
            np.uint16
        )

    def _write_image(self) -> None:
        target = self.targets.image_path
        if self.embedded:
            with write_aside(target, sync=False) as aside:
                aside.write_bytes(self.embedded())
        else:
            link_or_copy(self.source, target, link=self.link)


def link_or_copy(source: Path, target: Path, *, link: bool) -> None:
    """A hard link with `link`, where the file system can; a copy otherwise, with its time."""
    source = resolved(source)  # a link to a link would break with it
    with write_aside(target, sync=False) as aside:
        if link:
            try:
                with contextlib.suppress(FileNotFoundError):
                    aside.unlink()
                os.link(source, aside)
                return
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
        shutil.copyfile(source, aside)
        state = source.stat()
        os.utime(aside, ns=(state.st_atime_ns, state.st_mtime_ns))


def count_classes(label: np.ndarray, instance: np.ndarray | None) -> dict[int, tuple[int, int]]:
    """id -> (number of objects, number of pixels) of a label map, without none and ignored.

    label: uint8 (H, W). instance: uint16 (H, W); without one there are no objects.
    """
    if instance is None:
        pixels = np.bincount(label.ravel(), minlength=256)
        objects = np.zeros(256, np.int64)
    elif (int(instance.max(initial=0)) + 1) * 256 <= MAX_BINS:
        codes = instance.astype(np.int32) * 256 + label
        counts = np.bincount(codes.ravel(), minlength=256)
        counts = np.pad(counts, (0, -len(counts) % 256)).reshape(-1, 256)
        pixels = counts.sum(axis=0)
        objects = (counts[1:] > 0).sum(axis=0)
    else:
        pixels = np.bincount(label.ravel(), minlength=256)
        present = np.unique(instance.astype(np.int32) * 256 + label)
        objects = np.bincount(present[present >= 256] % 256, minlength=256)
    return {
        int(number): (int(objects[number]), int(pixels[number]))
        for number in np.flatnonzero(pixels)
        if number not in (NONE_ID, IGNORE)
    }


def image_header(path: Path, embedded: Callable[[], bytes] | None) -> Header:
    """The header of an image that is a file, or embedded in its annotation."""
    return header_of(io.BytesIO(embedded()), path) if embedded else read_header(path)
