"""Weight files that are none, are damaged, or hold something else: one line each, no code run."""

import argparse
import collections
import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.weight_files import WeightsError, read_weights
from models.weights import load_into, translate, unwrap

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # TorchScript
    pytest.mark.filterwarnings("ignore:torch.quantize"),
]
NEVER = ("weights_only", "arbitrary code", "\x1b", "\n", "add_safe_globals")  # of a message


def saved(contents: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer, **options)
    return buffer.getvalue()


TENSORS = {"a": torch.arange(4.0), "b": torch.ones(3, 2)}
GOOD = saved(TENSORS)


def zipped(members: dict[str, bytes], **options: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def repacked(edit: Callable[[bytes], bytes]) -> bytes:
    """The good file with another pickle in it, and right checksums."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return zipped({k: edit(v) if k.endswith("data.pkl") else v for k, v in members.items()})


def tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("best.pth")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def npz_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


def doubled() -> bytes:
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", b"\0" * 16)
    return buffer.getvalue()


def encrypted() -> bytes:
    """The flag bit of every record set, in both headers."""
    content = bytearray(GOOD)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(magic)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(magic, place + 4)
    return bytes(content)


ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x10" + bytes(range(60))
SAFETENSORS = struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
FILES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    "html": (b"<!DOCTYPE html><html><body>Log in</body></html>", "an HTML or XML page"),
    "html without doctype": (b"\n <html>", "an HTML or XML page"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "a JPEG image"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "json": (b'{\n "epochs": 3\n}\n', "is JSON, not"),
    "json lines": (b'{"kind": "start"}\n{"kind": "train"}\n', "JSON lines, not .* best.pth"),
    "text": ("Straße".encode()[:-2], "is text, not"),
    "utf-16": ("weights".encode("utf-16"), "is text, not"),
    "safetensors": (SAFETENSORS, "not a whole safetensors file .*; copy or download it again"),
    "gzip": (lambda: gzip.compress(GOOD), "a gzip archive, .*; unpack it"),
    "tar": (lambda: tarred(GOOD), "a tar archive, .*; unpack it"),
    "zip": (zipped({"readme.txt": b"x"}), r"zip archive of other files \(readme.txt\)"),
    "zip of weights": (zipped({"x/best.pth": GOOD}), r"other files .*; unpack it"),
    "empty zip": (zipped({}), "an empty zip archive"),
    "npy": (numpy_file, "a NumPy array"),
    "npz": (npz_file, r"zip archive of NumPy arrays \(a.npy\)"),
    "onnx": (ONNX, "an ONNX file"),
    "torchscript": (torchscript, "a TorchScript archive; expected the state_dict"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
    "empty": (b"", "an empty file"),
    "zeros": (bytes(10_000), "begins with zeros"),
    "noise": (b"\x01\x02\x03\xff" * 9, "of another kind .it begins with 01 02 03 ff"),
    "cut": (GOOD[:-100], "is cut off: the end of its zip archive"),
    "cut legacy": (
        lambda: saved(TENSORS, _use_new_zipfile_serialization=False)[:-40],
        "not a whole PyTorch weight file",
    ),
    "flipped byte of a tensor": (
        lambda: flipped(GOOD, GOOD.index(struct.pack("<2f", 1, 2))),
        "data/0 does not have its checksum; copy or download it again",
    ),
    "flipped byte of the pickle": (
        lambda: flipped(GOOD, GOOD.index(b"FloatStorage")),
        "data.pkl does not have its checksum",
    ),
    "doubled record": (doubled, "two records of one name"),
    "encrypted": (encrypted, "not a whole PyTorch weight file .*encrypted"),
    "bomb": (
        lambda: zipped({"a/data.pkl": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED),
        "declares 1000000 bytes in a file of",
    ),
    "pickle": (pickle.dumps({"a": 1}), "a Python pickle that torch.save did not write"),
    "pickle 2": (pickle.dumps({"a": 1}, protocol=2), "a Python pickle that torch.save did not"),
    "a list": (saved([1, 2]), "found list, expected a dictionary"),
    "a tensor": (saved(torch.ones(2)), "found Tensor, expected a dictionary"),
    "a namespace": (
        saved({"args": argparse.Namespace(lr=1)}),
        "holds an argparse.Namespace, which is not a tensor or a plain value; .*state_dict alone",
    ),
    "a net": (saved({"net": nn.Linear(2, 2)}), "holds a torch.nn.modules.linear.Linear, which"),
    "an object array": (saved({"a": np.ones(2)}), r"holds a numpy\.\w*core.multiarray._recon"),
    "code": (
        repacked(lambda _: b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R."),
        "holds a posix.system, which",
    ),
    "escape codes": (
        repacked(lambda _: b"\x80\x02c\x1b[31mx\ny\n)R."),
        "holds a .*, which is not a tensor",
    ),
    "another protocol": (saved(TENSORS, pickle_protocol=4), "not a whole .*Unsupported operand"),
    "a huge tensor": (
        repacked(lambda b: b.replace(b"K\x04t", b"J\xff\xff\xff\x7ft")),
        "not a whole PyTorch weight file|does not fit into memory",
    ),
    "beyond its storage": (
        repacked(lambda b: b.replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85")),
        "not a whole PyTorch weight file",
    ),
    # Hashed as the key of a dictionary: without a bound, a stack overflow in C.
    "deep tuples": (
        repacked(lambda _: b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s."),
        "more than 100000 tuples",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_weight_file_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    content, words = FILES[name]
    path = tmp_path / "file.pth"
    path.write_bytes(content if isinstance(content, bytes) else content())
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert not [word for word in NEVER if word in message]
    # Nor does a traceback show what PyTorch says about it.
    assert caught.value.__cause__ is None


def test_every_byte_counts(tmp_path: Path) -> None:
    """Whichever byte is damaged, the file is refused or its tensors are right."""
    refused = 0
    for place in range(0, len(GOOD), 7):
        (tmp_path / "file.pth").write_bytes(flipped(GOOD, place))
        try:
            found = read_weights(tmp_path / "file.pth")
        except WeightsError as error:
            assert "\n" not in str(error)
            refused += 1
        else:  # padding
            assert found.keys() == TENSORS.keys()
            assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)
    assert refused > 40


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder; expected a weight file"):
        read_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such weight file"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="is no path"):
        read_weights("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        with pytest.raises(WeightsError, match="is a named pipe"):
            read_weights(tmp_path / "pipe.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_plain_values_are_read_those_of_numpy_too(legacy: bool, tmp_path: Path) -> None:
    kinds = "bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    numbers = {kind: np.dtype(kind).type(1) for kind in [*kinds.split(), "longlong"]}
    contents = {"n": numbers, "x": torch.ones(2), "words": ["a", None, True, 2.5, {1, 2}]}
    torch.save(contents, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read_weights(tmp_path / "a.pth")
    assert found["n"] == numbers
    assert found["words"] == contents["words"]


def test_a_dictionary_with_attributes_of_its_own(tmp_path: Path) -> None:
    """PyTorch restores them; an `items` or `get` that is no function must not be called."""
    state = collections.OrderedDict(a=torch.ones(2))
    state.__dict__.update(xtems=1, gxt=2, kxys=3)
    content = saved(collections.OrderedDict(state_dict=state))
    # In place, since pickling would call them; all words keep their length.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    key = next(name for name in members if name.endswith("data.pkl"))
    for word, instead in {b"xtems": b"items", b"gxt": b"get", b"kxys": b"keys"}.items():
        assert word in members[key]
        members[key] = members[key].replace(word, instead)
    (tmp_path / "a.pth").write_bytes(zipped(members))
    assert list(unwrap(read_weights(tmp_path / "a.pth"))) == ["a"]


ONE = torch.ones(1)


@pytest.mark.parametrize(
    "contents",
    [
        {"x.y": ONE},
        {"weights": {"x.y": ONE}, "model": {"name": "dff"}},
        {"state_dict": {"x.y": ONE}, "epoch": 3, "best_acc": torch.ones(1)},
        {"model_state_dict": {"x.y": ONE}, "optimizer_state_dict": {"state": {}}},
        {"model": {"x.y": ONE}},
        {"model": {"state_dict": {"x.y": ONE}}},
        {"module.x.y": ONE},
        {"_orig_mod.module.x.y": ONE},
        {"module._orig_mod.module.x.y": ONE},
        {"x._orig_mod.y": ONE},
        {"state_dict": {"module.x.y": nn.Parameter(ONE)}},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(contents: dict) -> None:
    assert list(unwrap(contents)) == ["x.y"]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"x": ONE, "module.x": ONE}, "holds x twice, under two names"),
        ({"_orig_mod.x": ONE, "module.x": ONE}, "holds x twice"),
        ({1: ONE, "1": ONE}, "holds 1 twice"),
        ({"weights": {"x": ONE}, "state_dict": {"x": ONE}}, "under weights and state_dict; keep"),
    ],
)
def test_two_tensors_of_one_name_are_refused(contents: dict, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        unwrap(contents)


def test_two_tensors_that_get_one_name_are_refused() -> None:
    tensors = {"bot_fine.weight": ONE, "fine.weight": ONE}
    with pytest.raises(WeightsError, match=r"holds fine\.weight twice"):
        translate(tensors)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.bn = nn.BatchNorm1d(3)


def meta(tensor: Tensor) -> Tensor:
    return tensor.to("meta")


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("linear.weight", Tensor.to_sparse, "^1 sparse: linear.weight$"),
        ("linear.weight", meta, r"^1 without values \(meta device\): linear.weight$"),
        ("linear.weight", quantised, "^1 quantised: linear.weight$"),
        ("linear.weight", Tensor.long, "^1 int64 in place of floating-point numbers: linear.w"),
        ("linear.weight", Tensor.bool, "^1 bool in place of floating-point"),
        ("linear.weight", lambda t: t.to(torch.complex64), "^1 complex64 in place of floating"),
        ("linear.weight", lambda t: t.to(torch.float8_e4m3fn), "^1 float8_e4m3fn in place of"),
        ("linear.weight", lambda t: t * torch.nan, r"^1 not finite \(NaN or inf.*: linear.weight"),
        ("linear.weight", lambda t: t / 0, "^1 not finite"),
        ("linear.weight", lambda t: t.double() + 1e300, "^1 not finite"),  # as float32
        ("bn.running_var", lambda t: -t, "^1 negative: bn.running_var$"),
        ("bn.num_batches_tracked", Tensor.float, "^1 float32 in place of integers: bn.num_b"),
        ("bn.num_batches_tracked", Tensor.bool, "^1 bool in place of integers"),
    ],
)
def test_tensors_that_are_no_weights(
    name: str, edit: Callable[[Tensor], Tensor], words: str
) -> None:
    model = Small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = {key: value + 1 for key, value in before.items()}
    tensors[name] = edit(tensors[name])
    with pytest.raises(WeightsError, match=words):
        load_into(model, tensors)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_tensors_that_are_weights() -> None:
    """Other precisions, any integer as a counter, and sums that overflow though no value does."""
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        model, source = Small(), Small()
        tensors = {
            key: value.to(kind) if value.is_floating_point() else value.to(torch.int32)
            for key, value in source.state_dict().items()
        }
        assert load_into(model, tensors) == []
        assert torch.equal(model.linear.weight, tensors["linear.weight"].float())
    tensors["linear.weight"] = torch.full((3, 2), 3e38)
    assert load_into(model, tensors) == []
