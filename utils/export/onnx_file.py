"""The metadata of an ONNX file, read without the package onnx and without loading the graph.

The file is one protobuf message, `ModelProto` of onnx.proto: a row of fields, each a tag (number
and wire type) and a value. `metadata_props` (14) are pairs of strings: key (1) and value (2). Every
length is compared with what is left of the file, so that a file that is cut off is recognised.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from data.errors import InputError
from data.files import require_file
from utils.metadata import read_info
from utils.model_info import CheckpointError, ModelInfo

GRAPH, METADATA = 7, 14
MOST = 1 << 24  # bytes of one entry; all metadata of 4096 classes are below 1 MB
AGAIN = "copy it again, or export the checkpoint again with python -m utils.export"


class _Damaged(ValueError):
    pass


def is_onnx(path: str | Path) -> bool:
    """Whether a path is that of an ONNX file, by its ending."""
    return Path(path).suffix.lower() == ".onnx"


def read_onnx_info(path: str | Path) -> ModelInfo:
    """What an exported net says of itself; one line for a file that is none, damaged or foreign."""
    return read_info(read_metadata(path), path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of an ONNX file. CheckpointError unless it is a whole one."""
    with require_file(path, "ONNX file").open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        entries: list[bytes] = []
        graphs = 0
        try:
            for number, length in _fields(file, size):
                if number == METADATA and length <= MOST:
                    entries.append(file.read(length))
                else:
                    file.seek(length, 1)
                graphs += number == GRAPH
            if not graphs:
                raise _Damaged("it holds no graph")
            return dict(map(_pair, entries))
        except _Damaged as fault:
            raise CheckpointError(f"{path}: is no whole ONNX file ({fault}); {AGAIN}") from None


def _fields(file: IO[bytes], size: int) -> Iterator[tuple[int, int]]:
    """(number, length) of each field with a length; whoever gets it moves the file behind it."""
    while file.tell() < size:
        number, kind = divmod(_varint(file), 8)
        if kind == 0:
            _varint(file)
            continue
        if kind not in (1, 2, 5) or not number:
            raise _Damaged(f"at byte {file.tell()} there is no field of a model")
        length = _varint(file) if kind == 2 else {1: 8, 5: 4}[kind]
        if length > size - file.tell():
            raise _Damaged(f"it ends {length - (size - file.tell())} bytes too early")
        if kind == 2:
            yield number, length
        else:
            file.seek(length, 1)


def _varint(file: IO[bytes]) -> int:
    """A number in groups of seven bits, the lowest first; the highest bit says that more follow."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _Damaged("it is cut off")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise _Damaged("a number in it has more than 64 bits")


def _pair(entry: bytes) -> tuple[str, str]:
    found = {1: "", 2: ""}
    file = io.BytesIO(entry)
    for number, length in _fields(file, len(entry)):
        try:
            found[number] = file.read(length).decode()
        except UnicodeDecodeError:
            raise _Damaged("its metadata are no UTF-8") from None
    return found[1], found[2]


def require_no_onnx(path: str | Path, what: str) -> None:
    """InputError for an exported net where a checkpoint is needed."""
    if is_onnx(path):
        raise InputError(
            f"{path}: is an exported net; {what} needs the checkpoint that it was exported from"
        )
