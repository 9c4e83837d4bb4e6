"""Reading a weight file: what kind of file it is, whether it is whole, and what it holds.

Which tensor belongs to which parameter is in `models.weights`. Files are read with
`weights_only=True`: no code from a file is ever run.
"""

import codecs
import errno
import io
import json
import pickletools
import re
import stat
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

# The mean IoU in published files is a NumPy number; these make one from its bytes and do nothing
# else. NumPy 1 wrote the first under another name.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_KINDS = (*"?bhilqBHILQefd",)  # NumPy's letters of truth values, integers and floats
PLAIN_TYPES: tuple[Any, ...] = (
    NUMPY_SCALAR,
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *dict.fromkeys(type(np.dtype(letter)) for letter in NUMPY_KINDS),
)

ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
# Files of PyTorch before 1.6 begin with this number, pickled, four other pickles follow.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PICKLES = 5
HEAD = 4096  # bytes that are looked at to name a file
MAX_TUPLES = 100_000  # PyTorch hashes tuples by recursion in C, which has no other limit
MAX_UNPACKED = 8  # times the size of the file: weights can hardly be compressed

METADATA = "metadata"  # of read_weights
UNPACK = "unpack it"
AGAIN = "copy or download it again"
TENSORS_ALONE = "save its tensors with torch.save"
# (first bytes, what it is, what to do)
KINDS_OF_FILES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with git lfs pull"),
    (b"\x89PNG", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"BM", "a BMP image", ""),
    (b"II*\0", "a TIFF image", ""),
    (b"MM\0*", "a TIFF image", ""),
    (b"RIFF", "a WebP image, video or sound", ""),
    (b"%PDF", "a PDF", ""),
    (b"PK\x05\x06", "an empty zip archive", ""),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x93NUMPY", "a NumPy array", ""),
    (b"\x89HDF", "an HDF5 file (Keras or MATLAB)", TENSORS_ALONE),
    (b"MATLAB", "a MATLAB file", ""),
    (b"GGUF", "a GGUF file", TENSORS_ALONE),
    (b"\x7fELF", "a program", ""),
    *((mark, "text", "") for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)


class WeightsError(ValueError):
    """A weight file that cannot be read, or does not fit the network."""


def read_weights(path: str | Path) -> dict:
    """The contents of a weight file: tensors and plain values.

    Raises FileNotFoundError; MemoryError with the path; or WeightsError with one line for any other
    kind of file or content, and for a damaged one. The checksums of zip files (all since
    PyTorch 1.6) are compared. Of safetensors, METADATA holds what the file says in strings, and
    "weights" the tensors.
    """
    path = Path(path)
    _require_regular(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
        if _is_safetensors(head):
            return _load_safetensors(path)
        _require_weight_file(path, file, head)
        file.seek(0)
        contents = _load(path, file)
    if not isinstance(contents, dict):
        raise WeightsError(
            f"{path}: found {type(contents).__name__}, expected a dictionary of tensors"
        )
    return plain_dict(contents)


def plain_dict(contents: dict) -> dict:
    """A copy of the outermost dictionary, of exactly that type.

    A file can give an OrderedDict attributes, such as an `items` that is no function.
    """
    return dict(dict.items(contents))


def printable(text: str, most: int = 80) -> str:
    """A text from a file, for a message: without control characters, and not long."""
    shown = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return shown if len(text) <= most else f"{shown[:most]}…"


def _require_regular(path: Path) -> None:
    """FileNotFoundError or WeightsError unless it is a file that can be read to its end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"{path}: no such weight file") from error
    except ValueError as error:  # a zero byte in the path
        raise WeightsError(f"{str(path)!r}: is no path of a weight file ({error})") from error
    if stat.S_ISDIR(mode):
        raise WeightsError(f"{path}: is a folder; expected a weight file")
    if not stat.S_ISREG(mode):  # reading a named pipe could wait for ever
        raise WeightsError(f"{path}: is a named pipe, a socket or a device; expected a weight file")


def _require_weight_file(path: Path, file: IO[bytes], head: bytes) -> None:
    """WeightsError unless the file is one of torch.save's, and whole as far as can be seen."""
    try:
        if head.startswith(ZIP):
            fault = _fault_of_archive(file)
        elif head.startswith(LEGACY):
            file.seek(0)
            fault = _fault_of_pickles(file, LEGACY_PICKLES)
        elif head.startswith(PICKLE):
            fault = "is a Python pickle that torch.save did not write; save a state_dict with it"
        else:
            what, advice = _kind_of_file(head)
            fault = f"is {what}, not a PyTorch weight file" + (f"; {advice}" if advice else "")
    except Exception as error:  # zipfile has some twelve kinds of them
        _require_readable(error)
        fault = f"is not a whole PyTorch weight file ({_first_line(error)}); {AGAIN}"
        if isinstance(error, zipfile.BadZipFile) and "not a zip file" in str(error):
            fault = f"is cut off: the end of its zip archive is missing; {AGAIN}"
        raise WeightsError(f"{path}: {fault}") from None
    if fault is not None:
        raise WeightsError(f"{path}: {fault}")


def _fault_of_archive(file: IO[bytes]) -> str | None:
    """What is wrong with a zip archive as a weight file; whatever zipfile raises for a damage."""
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        pickles = [name for name in names if name.split("/", 1)[-1] == "data.pkl"]
        if any(name.endswith("/constants.pkl") for name in names):
            return "is a TorchScript archive; expected the state_dict of the net, by torch.save"
        if not pickles:
            return _other_archive(names)
        if len(set(names)) < len(names):
            return f"is damaged: its zip archive has two records of one name; {AGAIN}"
        # Compared before anything is unpacked: an archive of 1 MB can declare petabytes.
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_UNPACKED * size:
            return f"declares {unpacked} bytes in a file of {size}; it is damaged, or a trap"
        # PyTorch writes the checksums, but does not compare them when it loads.
        damaged = archive.testzip()
        if damaged is not None:
            return f"is damaged: {printable(damaged)} does not have its checksum; {AGAIN}"
        return _fault_of_pickles(io.BytesIO(archive.read(pickles[0])), 1)


def _other_archive(names: list[str]) -> str:
    shown = ", ".join(map(printable, names[:3])) + (", …" if len(names) > 3 else "")
    what = "NumPy arrays" if names and all(n.endswith(".npy") for n in names) else "other files"
    advice = f"; {UNPACK}" if any(n.endswith((".pth", ".pt", ".tar")) for n in names) else ""
    return f"is a zip archive of {what} ({shown}), not a PyTorch weight file{advice}"


def _fault_of_pickles(file: IO[bytes], count: int) -> str | None:
    """Whether the next pickles of a file could overflow the stack of whoever reads them."""
    tuples = 0
    for _ in range(count):
        for operation, _, _ in pickletools.genops(file):
            tuples += operation.name.startswith("TUPLE")
            if tuples > MAX_TUPLES:
                return f"holds more than {MAX_TUPLES} tuples; expected the tensors of a network"
    return None


def _kind_of_file(head: bytes) -> tuple[str, str]:
    """What a file is that is no weight file, and what to do about it."""
    for magic, what, advice in KINDS_OF_FILES:
        if head.startswith(magic):
            return what, advice
    if not head:
        return "an empty file", AGAIN
    if not head.strip(b"\0"):
        return "a file that begins with zeros", AGAIN
    if head[257:262] == b"ustar":
        return "a tar archive", UNPACK
    if head[:1] == b"\x08" and (b"pytorch" in head[:64] or b"onnx" in head.lower()):
        return "an ONNX file", (
            "give the checkpoint that it was exported from; predict.py and test.py run files of "
            "python -m utils.export whose name ends in .onnx"
        )
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> tuple[str, str]:
    try:  # the last letter may be cut
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head).strip()
    except UnicodeDecodeError:
        text = "\0"
    if any(not c.isprintable() and not c.isspace() for c in text):
        return f"a file of another kind (it begins with {head[:8].hex(' ')})", ""
    if re.match(r"<(!doctype html|html|head|\?xml|!--)", text, re.IGNORECASE):
        return "an HTML or XML page", "a page to log in or to confirm, perhaps; download it again"
    if not text.startswith(("{", "[")):
        return "text", ""
    try:
        json.loads(text.partition("\n")[0])
    except (ValueError, RecursionError):
        return "JSON", ""
    return "JSON lines", "the weights of a run are in best.pth and last.pth"


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes with the length of a JSON object, and that."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _load_safetensors(path: Path) -> dict:
    try:
        from safetensors import safe_open
    except ImportError:
        raise WeightsError(f"{path}: needs safetensors: pip install safetensors") from None
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copies: the package maps the file, which may be replaced while the net is used.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except MemoryError:
        raise MemoryError(f"{path}: the weights do not fit") from None
    except Exception as error:
        _require_readable(error)
        raise WeightsError(
            f"{path}: is not a whole safetensors file ({_first_line(error)}); {AGAIN}"
        ) from None
    return {METADATA: dict(metadata), "weights": tensors}


def _load(path: Path, file: IO[bytes]) -> object:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(PLAIN_TYPES)):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise MemoryError(f"{path}: the weights do not fit") from None
    # Without the error as its cause: it has PyTorch's advice to run the file's code in it.
    except Exception as error:
        _require_readable(error)
        raise WeightsError(f"{path}: {_refusal(error)}") from None


def _require_readable(error: Exception) -> None:
    """Raise an error of the disk again; a wrong offset in a file is one too, but EINVAL."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error


def _refusal(error: Exception) -> str:
    """One line on what `torch.load` raised, without its advice."""
    text = str(error)
    # "GLOBAL a.b", "for unrecognized function <function b>", "classes allowlisted …, but got …"
    patterns = (r"GLOBAL (\S+)", r"function <\w+ '?([\w.]+)", r"allowlisted .*<class '([\w.]+)'")
    for pattern in patterns:
        if found := re.search(pattern, text):
            name = printable(found[1])
            article = "an" if name[0].lower() in "aeiou" else "a"
            return (
                f"holds {article} {name}, which is not a tensor or a plain value; where it was "
                "made, save the state_dict alone"
            )
    if "allocate memory" in text or "not enough memory" in text:
        return f"declares a tensor that does not fit into memory ({_first_line(error)})"
    if isinstance(error, RecursionError):
        return "is nested too deeply; expected the tensors of a network"
    # The reason is the last paragraph but for the link to the documentation.
    reason = text.partition("\n\nCheck the documentation")[0].rpartition("\n\n")[2]
    if "weights_only" in reason:
        reason = type(error).__name__
    return f"is not a whole PyTorch weight file ({_first_line(reason)}); {AGAIN}"


def _first_line(error: Exception | str) -> str:
    lines: Iterable[str] = str(error).strip().splitlines()
    return printable(next(iter(lines), type(error).__name__), 160)
