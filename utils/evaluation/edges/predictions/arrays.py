"""Predictions as NumPy arrays: .npy and .npz files of one array (K, H, W) or (H, W, K).

What a file's header says is checked before anything is read: the type of its numbers, its shape
against the number of classes, its length against the shape. Classes are then read one by one.
"""

import contextlib
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from data.errors import InputError
from data.files import reading, require_file
from data.image_io import MAX_PIXELS

STORED = (np.dtype(np.uint8), np.dtype(np.uint16))  # as in the PNGs; the rest are probabilities
CHUNK = 1 << 20  # bytes
MAX_HEADER = 1 << 16  # characters of an array's header; ours have 128


@dataclass(frozen=True)
class ArrayHeader:
    """What an array file says of itself."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    fortran: bool

    def classes_first(self, num_classes: int) -> bool:
        """Whether the shape is (K, H, W); False: (H, W, K). InputError if it is neither."""
        if num_classes not in (self.shape[0], self.shape[-1]):
            raise InputError(
                f"{self.path}: found an array of shape {self.shape}; expected {num_classes} "
                f"classes, ({num_classes}, height, width)"
            )
        return self.shape[0] == num_classes

    def size(self, num_classes: int) -> tuple[int, int]:
        """(h, w) of a class's scores."""
        first, second, third = self.shape
        return (second, third) if self.classes_first(num_classes) else (first, second)

    def likely_classes(self) -> int:
        """The number of classes where nothing else says it: the smaller end of the shape."""
        return self.shape[-1] if self.shape[-1] < self.shape[0] else self.shape[0]


def read_array_header(path: Path) -> ArrayHeader:
    """The header of an array file; InputError unless it holds scores, as far as that says."""
    with _opened(path) as (stream, length):
        return _header_of(stream, length, path)


def read_array(path: Path, num_classes: int) -> Iterator[np.ndarray]:
    """Yield the scores (h, w) of each class: uint8 or uint16 as stored, else float32 in 0..1."""
    with _opened(path) as (stream, length):
        header = _header_of(stream, length, path)
        for plane in _planes(stream, header, num_classes):
            try:
                scores = _scores(plane, path)
            except InputError:
                _read_to_end(stream, path)  # damaged, perhaps
                raise
            yield scores
        _read_to_end(stream, path)


def _read_to_end(stream: IO[bytes], path: Path) -> None:
    """InputError if a zip file's content does not have its checksum, which is compared there."""
    with reading(path):
        while stream.read(CHUNK):
            pass


def _planes(stream: IO[bytes], header: ArrayHeader, num_classes: int) -> Iterator[np.ndarray]:
    """The classes of an array in turn, as stored (h, w)."""
    height, width = header.size(num_classes)
    if header.classes_first(num_classes) and not header.fortran:
        for _ in range(num_classes):
            yield _numbers(stream, header, height * width).reshape(height, width)
        return
    # The classes lie between each other, so all are read.
    flat = _numbers(stream, header, math.prod(header.shape))
    array = flat.reshape(header.shape, order="F" if header.fortran else "C")
    if not header.classes_first(num_classes):
        array = np.moveaxis(array, -1, 0)
    yield from array


def _numbers(stream: IO[bytes], header: ArrayHeader, count: int) -> np.ndarray:
    with reading(header.path):
        content = stream.read(count * header.dtype.itemsize)
    if len(content) < count * header.dtype.itemsize:
        raise InputError(f"{header.path}: the file is cut off; replace it")
    numbers = np.frombuffer(content, header.dtype)
    return numbers.astype(header.dtype.newbyteorder("="), copy=False)


def _scores(plane: np.ndarray, path: Path) -> np.ndarray:
    if plane.dtype not in STORED:
        with np.errstate(over="ignore"):  # infinite, and refused
            plane = plane.astype(np.float32)
        if not (plane.min() >= 0 and plane.max() <= 1):  # NaN fails both
            raise InputError(
                f"{path}: scores from {plane.min():g} to {plane.max():g}; "
                "expected probabilities, 0..1"
            )
    return np.ascontiguousarray(plane)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """(the stream of the one array in a file, its length in bytes)."""
    require_file(path, "array file")
    with contextlib.ExitStack() as closing:
        if path.suffix.lower() == ".npy":
            yield closing.enter_context(path.open("rb")), path.stat().st_size
            return
        with reading(path):
            archive = closing.enter_context(zipfile.ZipFile(path))
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if len(members) != 1:
            raise InputError(
                f"{path}: found {len(members)} arrays; expected one, (classes, height, width)"
            )
        with reading(path):
            stream = closing.enter_context(archive.open(members[0]))
        yield stream, members[0].file_size


def _header_of(stream: IO[bytes], length: int, path: Path) -> ArrayHeader:
    with reading(path):
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
        start = stream.tell()
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"{path}: found an array of shape {shape}; expected (classes, height, width)"
        )
    is_float = dtype.kind == "f" and dtype.itemsize <= 8
    if dtype.newbyteorder("=") not in STORED and dtype.kind != "b" and not is_float:
        raise InputError(
            f"{path}: found an array of {dtype}; expected probabilities of 16 to 64 bits, bool, or "
            "uint8 or uint16 as in the PNGs"
        )
    expected = start + math.prod(shape) * dtype.itemsize
    if expected > length:
        raise InputError(
            f"{path}: the file is cut off; an array of {dtype} {shape} takes {expected:,} bytes, "
            f"found {length:,}; replace it"
        )
    if math.prod(sorted(shape)[1:]) > MAX_PIXELS:
        raise InputError(
            f"{path}: found an array of shape {shape}; expected maps of at most {MAX_PIXELS:,} "
            "pixels"
        )
    return ArrayHeader(path, (shape[0], shape[1], shape[2]), dtype, fortran)
