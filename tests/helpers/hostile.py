"""Hostile inputs by sort of file, a line a case; `helpers.doors` says which file is of which sort.

A case damages one good file in place. It is `refused`, or else the result has to be that of the
good input, or that of the `twin`: the same content said in the plainest way.
"""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from PIL import Image

Damage = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """name: says what the file is. says: words of the refusal. culprit: what it may name, too."""

    name: str
    damage: Damage
    ok: bool = False
    twin: Damage | None = None
    says: str = ""
    culprit: str | None = None


def refused(name: str, damage: Damage, says: str = "", culprit: str | None = None) -> Case:
    return Case(name, damage, says=says, culprit=culprit)


def ok(name: str, damage: Damage, twin: Damage | None = None) -> Case:
    return Case(name, damage, True, twin)


# --- any file ---


def replaced(content: bytes) -> Damage:
    return lambda path: _put(path, content)


def _put(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def edited(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: _put(path, change(path.read_bytes()))


def as_text(change: Callable[[str], str], encoding: str = "utf-8") -> Damage:
    return edited(lambda content: change(content.decode()).encode(encoding))


def cut(share: float) -> Damage:
    return edited(lambda content: content[: int(len(content) * share)])


def flip(share: float) -> Damage:
    def change(content: bytes) -> bytes:
        at = int(len(content) * share)
        return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]

    return edited(change)


def after(content: bytes) -> Damage:
    return edited(lambda before: before + content)


def remove(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def linked(path: Path) -> None:
    """The file itself, elsewhere, behind a link."""
    other = path.parents[1] / f"elsewhere_{path.name}"
    path.rename(other)
    path.symlink_to(other)


def png_bytes(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


HTML = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n"
LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    b"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
SOME_PNG = png_bytes(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))

FILE = (
    refused("missing", remove),
    refused("empty", replaced(b"")),
    refused("one byte", replaced(b"\xff")),
    refused("cut at half", cut(0.5)),
    refused("text", replaced(b"the quick brown fox\n")),
    refused("HTML page", replaced(HTML)),
    refused("Git LFS pointer", replaced(LFS)),
    refused("zeros", edited(lambda content: bytes(len(content)))),
    refused("folder", folder),
    refused("named pipe", pipe),
    refused("broken link", broken_link),
    refused("link loop", link_loop),
    ok("behind a link", linked),
)

# --- images and maps ---


def read(path: Path) -> np.ndarray:
    """What is stored, RGB for colours."""
    return np.array(Image.open(path))


def write(path: Path, image: np.ndarray) -> None:
    _put(path, png_bytes(image[..., ::-1] if image.ndim == 3 else image))


def pixels(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """A plain PNG of changed pixels."""
    return lambda path: write(path, np.ascontiguousarray(change(read(path))))


def saved(
    kind: str,
    change: Callable[[np.ndarray], np.ndarray | Image.Image] = lambda image: image,
    **options: object,
) -> Damage:
    """Another kind of file of the (changed) pixels, by Pillow, under the old name."""

    def damage(path: Path) -> None:
        image = change(read(path))
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        file = io.BytesIO()
        image.save(file, kind, **options)
        _put(path, file.getvalue())

    return damage


def decoded(damage: Damage) -> Damage:
    """The twin of a lossy file: a PNG of what it holds."""

    def twin(path: Path) -> None:
        damage(path)
        write(path, cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION))

    return twin


def header(width: int, height: int) -> Damage:
    """A PNG that says that it has another size."""

    def change(content: bytes) -> bytes:
        chunk = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]

    return edited(change)


def chunk(kind: bytes, data: bytes) -> Damage:
    """One more chunk before the pixels."""
    whole = struct.pack(">I", len(data)) + kind + data
    whole += struct.pack(">I", zlib.crc32(kind + data))
    return edited(lambda content: content[:33] + whole + content[33:])


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids.astype(np.uint8), "P")
    image.putpalette(list(np.random.default_rng(3).integers(0, 256, 768)))
    return image


def bits(depth: int, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """A grey PNG of less than 8 bits a pixel."""

    def damage(path: Path) -> None:
        ids = change(read(path)).astype(np.uint8)
        height, width = ids.shape
        spread = (ids[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(spread.reshape(height, width * depth), axis=1)
        data = b"".join(b"\0" + row.tobytes() for row in rows)
        parts = [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(data)),
            (b"IEND", b""),
        ]
        content = b"\x89PNG\r\n\x1a\n"
        for kind, part in parts:
            content += struct.pack(">I", len(part)) + kind + part
            content += struct.pack(">I", zlib.crc32(kind + part))
        _put(path, content)

    return damage


def interlaced(path: Path) -> None:
    """Adam7, written by hand: OpenCV and Pillow cannot."""
    image = read(path)
    depth = 16 if image.dtype == np.uint16 else 8
    data = b""
    for x, y, step_x, step_y in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        part = image[y::step_y, x::step_x].astype(f">u{depth // 8}")
        data += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    height, width = image.shape[:2]
    colour = 2 if image.ndim == 3 else 0
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(part)) + kind + part
        content += struct.pack(">I", zlib.crc32(kind + part))
    _put(path, content)


def exif(orientation: int) -> dict[str, bytes]:
    stated = Image.Exif()
    stated[0x0112] = orientation
    return {"exif": stated.tobytes()}


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The stored pixels as they are to be seen, by Pillow."""
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return np.array(
        Image.fromarray(image).transpose(how[orientation]) if orientation > 1 else image
    )


def turn(orientation: int) -> Damage:
    return pixels(lambda image: turned(image, orientation))


def damaged_jpeg(path: Path) -> None:
    """Its data end early, its end mark is there."""
    saved("JPEG", quality=95)(path)
    edited(lambda content: content[: len(content) * 2 // 3] + b"\xff\xd9")(path)


def grey(image: np.ndarray) -> np.ndarray:
    return image[..., 1]


def alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


BROKEN_PNG = (
    *FILE,
    refused("flipped byte", flip(0.6)),
    refused("cut by one byte", edited(lambda content: content[:-13])),
    refused("60000x60000", header(60000, 60000)),
    refused("0x0", header(0, 0)),
    refused("2^31 wide", header(2**31, 48)),
)
PLAIN_PNG = (
    ok("interlaced", interlaced),
    ok("bytes after the end", after(b"\0" * 100)),
    ok("another PNG after the end", after(SOME_PNG)),
    ok("a chunk that nobody knows", chunk(b"teSt", b"\0" * 1000)),
    ok("a text chunk that expands", chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 25)))),
    ok("a damaged eXIf chunk", chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff\0")),
    ok("TIFF under this name", saved("TIFF")),
)

IMAGE = (
    *BROKEN_PNG,
    *PLAIN_PNG,
    refused("JPEG cut at half", lambda path: (saved("JPEG")(path), cut(0.5)(path))[0]),
    refused("JPEG damaged inside", damaged_jpeg),
    refused("a .npy array", replaced(b"\x93NUMPY\x01\0v\0{'descr': '<f4'}")),
    refused("a zip", replaced(b"PK\x03\x04" + bytes(100))),
    refused("a GIF's header", replaced(b"GIF89a\x40\0\x30\0")),
    ok("RGBA", saved("PNG", alpha)),
    ok("WebP without loss", saved("WEBP", lossless=True)),
    ok("BMP", saved("BMP")),
    ok("JPEG", saved("JPEG"), decoded(saved("JPEG"))),
    ok(
        "JPEG with bytes after its end",
        lambda path: (saved("JPEG")(path), after(b"\0" * 99)(path))[0],
        decoded(saved("JPEG")),
    ),
    ok("16 bits", pixels(lambda image: image.astype(np.uint16) * 257)),
    ok("grey", pixels(grey), pixels(lambda image: np.dstack([grey(image)] * 3))),
)
SIZES = (
    refused("half as wide", pixels(lambda image: image[:, ::2])),
    refused("one row less", pixels(lambda image: image[1:])),
    refused("turned", pixels(lambda image: image.swapaxes(0, 1))),
    refused("1x1", pixels(lambda image: image[:1, :1])),
)
# Images are taken as stored; predict.py --upright turns them.
EXIF_TURNED = tuple(
    ok(f"EXIF orientation {k}", saved("PNG", **exif(k)), turn(k)) for k in range(1, 9)
)
EXIF_STORED = tuple(ok(f"EXIF orientation {k}", saved("PNG", **exif(k))) for k in range(1, 9))
EXIF_6 = EXIF_STORED[5:6]
DATA_IMAGE = (*IMAGE, *SIZES, *EXIF_STORED)
PREDICT_IMAGE = (*IMAGE, *EXIF_STORED)

NO_MAP = (
    refused("RGB", pixels(lambda ids: np.dstack([ids.astype(np.uint8)] * 3))),
    refused("RGBA", saved("PNG", lambda ids: alpha(np.dstack([ids.astype(np.uint8)] * 3)))),
    refused(
        "grey and alpha",
        saved("PNG", lambda ids: Image.fromarray(ids.astype(np.uint8)).convert("LA")),
    ),
    refused("JPEG", saved("JPEG", lambda ids: ids.astype(np.uint8))),
    refused("float TIFF", saved("TIFF", lambda ids: ids.astype(np.float32))),
    refused("int32 TIFF", saved("TIFF", lambda ids: ids.astype(np.int32))),
    refused("negative TIFF", saved("TIFF", lambda ids: -ids.astype(np.int32))),
)
MAP = (
    *BROKEN_PNG,
    *PLAIN_PNG,
    *NO_MAP,
    *SIZES,
    *EXIF_6,
    ok("16 bits", pixels(lambda ids: ids.astype(np.uint16))),
    ok("with a palette", saved("PNG", palette)),
    ok("1 bit", bits(1, lambda ids: ids % 2), pixels(lambda ids: ids % 2)),
    ok("2 bits", bits(2, lambda ids: ids % 4), pixels(lambda ids: ids % 4)),
    ok("4 bits", bits(4, lambda ids: ids % 4), pixels(lambda ids: ids % 4)),
)


def one_id(value: int) -> Damage:
    def change(ids: np.ndarray) -> np.ndarray:
        ids = ids.astype(np.uint16 if value > 255 else ids.dtype)
        ids[3, 5] = value
        return ids

    return pixels(change)


LABEL = (
    *MAP,
    refused("id 77", one_id(77), "77"),
    refused("id 254", one_id(254), "254"),
    refused("id 300", one_id(300), "300"),
    refused("id 65535", one_id(65535), "65535"),
)
INSTANCE = (
    *BROKEN_PNG,
    *PLAIN_PNG,
    *NO_MAP,
    *SIZES,
    *EXIF_6,
)


def bit(k: int) -> Damage:
    """One more edge of class k in a 24-bit image, whose blue has classes 0 to 7."""

    def change(image: np.ndarray) -> np.ndarray:
        image[3, 5, 2 - k // 8] |= 1 << (k % 8)
        return image

    return pixels(change)


# Edges and scores are PNGs. Their size is that of the image to within a pixel, at any scale.
PNG_ONLY = (
    *BROKEN_PNG,
    *(case for case in PLAIN_PNG if "TIFF" not in case.name),
    *EXIF_6,
    *SIZES[::2],
    refused("TIFF under this name", saved("TIFF")),
)
EDGES = (
    *PNG_ONLY,
    refused("JPEG", saved("JPEG")),
    refused("class 23", bit(23)),
    refused("class 12", bit(12)),
    refused("a map of ids", pixels(lambda image: image[..., 0] % 3)),
)
TRAINING_EDGES = (*EDGES, *SIZES[1::2])
# Scores of a class may also be TIFFs, and RGB with equal channels.
SCORES = (
    *(case for case in (*PNG_ONLY, *NO_MAP) if case.name not in ("TIFF under this name", "RGB")),
    ok("TIFF under this name", saved("TIFF")),
    ok("RGB", pixels(lambda scores: np.dstack([scores] * 3))),
)

# --- arrays ---


def array(path: Path) -> np.ndarray:
    loaded = np.load(path)
    return loaded[loaded.files[0]] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded


def stored(change: Callable[[np.ndarray], np.ndarray], **names: object) -> Damage:
    """The file with a changed array; in an .npz, names: more arrays."""

    def damage(path: Path) -> None:
        changed = change(array(path))
        file = io.BytesIO()
        if path.suffix == ".npy":
            np.save(file, changed)
        else:
            np.savez(file, scores=changed, **names)
        _put(path, file.getvalue())

    return damage


def raw_npy(text: str) -> Damage:
    """Only a header: {'descr': ..., 'fortran_order': False, 'shape': ...}."""
    content = text.encode().ljust(117) + b"\n"
    npy = b"\x93NUMPY\x01\0" + struct.pack("<H", len(content)) + content

    def damage(path: Path) -> None:
        if path.suffix == ".npy":
            _put(path, npy)
            return
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("scores.npy", npy)

    return damage


def header_of(shape: str, descr: str = "'<f4'") -> Damage:
    return raw_npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


class Evil:
    """Its pickle would make a file."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/evil_was_here",)


ARRAY = (
    *FILE,
    refused("PNG under this name", replaced(SOME_PNG)),
    refused("complex", stored(lambda a: a.astype(np.complex64))),
    refused("dates", stored(lambda a: (a > 0.5).astype("datetime64[s]"))),
    refused("timedeltas", stored(lambda a: (a > 0.5).astype("timedelta64[s]"))),
    refused("text", stored(lambda a: a.astype("U4"))),
    refused("bytes", stored(lambda a: a.astype("S4"))),
    refused("structured", stored(lambda a: a.astype([("p", "f4")]))),
    refused("objects", stored(lambda a: np.full(a.shape, Evil(), object))),
    refused("NaN", stored(lambda a: np.where(a > 0.9, np.float32("nan"), a))),
    refused("infinite", stored(lambda a: np.where(a > 0.9, np.float32("inf"), a))),
    refused("below 0", stored(lambda a: a - 0.5)),
    refused("above 1", stored(lambda a: a * 2)),
    refused("int64 of 0 and 1", stored(lambda a: (a > 0.5).astype(np.int64))),
    refused("8-bit scores as int64", stored(lambda a: (a * 255).astype(np.int64))),
    refused("two axes", stored(lambda a: a[0])),
    refused("four axes", stored(lambda a: a[None])),
    refused("no axis", stored(lambda a: a[0, 0, 0])),
    refused("one class less", stored(lambda a: a[1:])),
    refused("no class", stored(lambda a: a[:0])),
    refused("no rows", stored(lambda a: a[:, :0])),
    refused("half as wide", stored(lambda a: a[:, :, ::2])),
    refused("700 TB", header_of("(3, 8000000, 8000000)")),
    refused("10^30 numbers", header_of("(3, 10000000000, 10000000000, 10000000000)")),
    refused("a side of -1", header_of("(3, -1, 64)")),
    refused("a side of True", header_of("(True, 48, 64)")),
    refused("a header of no literal", raw_npy("__import__('os').system('true')")),
    refused("a header too deep", raw_npy("(" * 90 + ")" * 20)),
    refused("an unknown dtype", header_of("(3, 48, 64)", "'<q99'")),
    refused("object dtype in the header", header_of("(3, 48, 64)", "'|O'")),
    ok("float64", stored(lambda a: a.astype(np.float64))),
    ok("big-endian", stored(lambda a: a.astype(">f4"))),
    ok("Fortran order", stored(np.asfortranarray)),
    ok("classes last", stored(lambda a: np.moveaxis(a, 0, -1))),
    ok("bool", stored(lambda a: a > 0.5), stored(lambda a: (a > 0.5).astype(np.float32))),
    ok(
        "float16",
        stored(lambda a: a.astype(np.float16)),
        stored(lambda a: a.astype(np.float16).astype(np.float32)),
    ),
)


def zipped(method: int = zipfile.ZIP_STORED, flag: int = 0, fake: int | None = None) -> Damage:
    """The .npz packed by another method; flag and fake: written over those of its headers."""

    def damage(path: Path) -> None:
        file = io.BytesIO()
        np.save(file, array(path))
        path.unlink()
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("scores.npy", file.getvalue())
        content = bytearray(path.read_bytes())
        for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = content.index(start) + offset
            content[at] |= flag
            if fake is not None:
                content[at + 2 : at + 4] = struct.pack("<H", fake)
        path.write_bytes(content)

    return damage


NPZ = (
    *ARRAY,
    refused("flipped byte", flip(0.5)),
    refused("two arrays", stored(lambda a: a, more=np.zeros(3))),
    refused("no array", lambda path: (path.unlink(), zipfile.ZipFile(path, "w").close())[1]),
    refused("encrypted", zipped(flag=1)),
    refused("an unknown method", zipped(fake=77)),
    refused("damaged LZMA", zipped(fake=14)),
    refused("damaged bzip2", zipped(fake=12)),
    refused("damaged deflate", zipped(fake=8)),
    ok("LZMA", zipped(zipfile.ZIP_LZMA)),
    ok("deflate", zipped(zipfile.ZIP_DEFLATED)),
)

# --- text ---


def utf16(path: Path) -> None:
    as_text(lambda text: text, "utf-16")(path)


TEXT = (
    refused("UTF-16", utf16, "UTF-16"),
    refused("UTF-16 without a mark", as_text(lambda text: text, "utf-16-le")),
    refused("UTF-32", as_text(lambda text: text, "utf-32"), "UTF-32"),
    refused("Latin-1", edited(lambda content: content + b"stra\xdfe stra\xdfe\n"), "UTF-8"),
    ok("byte-order mark", edited(lambda content: b"\xef\xbb\xbf" + content)),
    ok("CRLF", as_text(lambda text: text.replace("\n", "\r\n"))),
    ok("no last newline", as_text(lambda text: text.rstrip("\n"))),
    ok("empty lines", as_text(lambda text: "\n\n" + text.replace("\n", "\n  \n"))),
)


def one_more(text: str) -> Damage:
    """One more line."""
    return as_text(lambda before: before + text + "\n")


def first_line(change: Callable[[str], str]) -> Damage:
    return as_text(lambda text: change(text.split("\n", 1)[0]) + "\n" + text.split("\n", 1)[1])


def twice(path: Path) -> None:
    as_text(lambda text: text + text)(path)


# Whatever the columns are: every path of the line gets it.
LIST = (
    *(case for case in FILE if case.name not in ("missing", "cut at half")),
    *TEXT,
    refused("cut within a line", cut(0.7)),
    refused("lines twice", twice),
    refused("absolute paths", first_line(lambda line: " ".join(f"/tmp/{p}" for p in line.split()))),
    refused("..", first_line(lambda line: " ".join(f"../x/{p}" for p in line.split()))),
    refused(
        "../../..", first_line(lambda line: " ".join(f"../../../../x/{p}" for p in line.split()))
    ),
    refused("NUL", first_line(lambda line: line.replace("0", "\0"))),
    refused("~", first_line(lambda line: " ".join(f"~/{p}" for p in line.split()))),
    refused(
        "a file that is not there", first_line(lambda line: line.replace("0", "9")), culprit="9"
    ),
    refused("backslashes", first_line(lambda line: " ".join(f"..\\{p}" for p in line.split()))),
    refused("a name of a million letters", first_line(lambda line: "x" * 1_000_000), culprit="xxx"),
    refused(
        "a name of 300 letters",
        first_line(lambda line: " ".join("y" * 300 for _ in line.split())),
        culprit="yyy",
    ),
    refused("a folder", first_line(lambda line: " ".join("." for _ in line.split()))),
)
HELD_OUT = (*(case for case in LIST if case.name != "lines twice"), ok("lines twice", twice))
COLUMNS = (
    refused("three columns", first_line(lambda line: f"{line} {line.split()[0]}")),
    refused("one column", first_line(lambda line: line.split()[0])),
    refused("a space in a name", first_line(lambda line: line.replace("/", "/ ", 1))),
    refused("columns with tabs and colons", first_line(lambda line: line.replace(" ", ":"))),
    ok("columns by tabs", as_text(lambda text: text.replace(" ", "\t"))),
)
NAMES = (  # --class-names
    *(case for case in FILE if case.name not in ("one byte",)),
    *TEXT,
    refused("one byte", replaced(b"x")),
    refused("one name too few", as_text(lambda text: text.split("\n", 1)[1])),
    refused("one name too many", one_more("more")),
)


# --- JSON ---


def raw(text: str) -> Damage:
    return replaced(text.encode())


BAD_JSON = (
    *FILE,
    refused("UTF-16", utf16),
    refused("Latin-1", raw('{"stra\xdfe": 1}'.encode("latin-1").decode("latin-1"))),
    refused("NaN", raw('{"0": NaN}')),
    refused("-Infinity", raw('{"0": -Infinity}')),
    refused("1e400", raw('{"0": 1e400}')),
    refused("10000 levels", raw('{"0": ' * 10_000 + "0" + "}" * 10_000)),
    refused("100000 brackets", raw("[" * 100_000)),
    refused("a list", raw("[0, 1]")),
    refused("a number", raw("7")),
    refused("null", raw("null")),
    refused("text", raw('"0"')),
    refused("single quotes", raw("{'0': 0}")),
    refused("a comma too many", raw('{"0": 0,}')),
    refused("a comment", raw('{"0": 0} // zero')),
    refused("two objects", raw('{"0": 0}{"1": 1}')),
    refused("5000 digits", raw('{"0": ' + "9" * 5000 + "}")),
    ok("byte-order mark", edited(lambda content: b"\xef\xbb\xbf" + content)),
    ok("CRLF", as_text(lambda text: text.replace("\n", "\r\n").replace(" ", "\r\n"))),
)


def mapped(key: object, value: object) -> Damage:
    """The id map with one more entry."""
    text = f"{json.dumps(str(key))}: {json.dumps(value)}"
    return as_text(lambda before: before.rstrip().removesuffix("}") + f", {text}}}")


def stating(key: str, value: object) -> Damage:
    """The object with an entry of that value."""
    return as_text(lambda before: json.dumps(json.loads(before) | {key: value}))


DATASET_JSON = (
    *BAD_JSON,
    refused("an unknown entry", stating("clases", [])),
    refused("no classes", raw('{"classes": []}')),
    refused("an id twice", stating("none_ids", [0]), says="id 0 is both"),
    refused("colours of a map of ids", stating("labels", "colors")),
    refused("a folder without images", stating("splits", {"val": "0.5"}), says="has no images"),
    refused("a folder above", stating("splits", {"val": "../val"})),
    refused("a list that is not there", stating("splits", {"val": "no.txt"}), culprit="no.txt"),
    refused("a name with a line break", raw('{"classes": [{"name": "a\\nb"}]}')),
    refused("upright as text", stating("upright", "no")),
    ok("the defaults in words", stating("upright", False)),
)
ID_MAP = (
    *BAD_JSON,
    refused("a key twice", mapped(0, 1), "twice"),
    refused("class 1.9", mapped(9, 1.9)),
    refused("class 1.0", mapped(9, 1.0)),
    refused("class true", mapped(9, True)),
    refused("class text", mapped(9, "1")),
    refused("class list", mapped(9, [1])),
    refused("class -1", mapped(9, -1)),
    refused("class 4 of 4", mapped(9, 4)),
    refused("class 10^30", mapped(9, 10**30)),
    refused("id -1", mapped(-1, 1)),
    refused("id 65536", mapped(65536, 1)),
    refused("id 10^30", mapped(10**30, 1)),
    refused("id 1.5", mapped(1.5, 1)),
    refused("id of Arabic digits", mapped("\u0663", 1)),
    refused("id 1_0", mapped("1_0", 1)),
    refused("id with spaces", mapped(" 9 ", 1)),
    refused("id of nothing", mapped("", 1)),
    ok("null is none", mapped(9, None)),
    ok("255 is none", mapped(9, 255)),
)


def drawn(change: Callable[[dict], object]) -> Damage:
    """Polygons of Cityscapes, changed in place."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        _put(path, json.dumps(content).encode())

    return damage


NAN_CORNERS = [[float("nan"), 4], [40, 4], [40, 30]]
POLYGONS = (
    *(case for case in BAD_JSON if case.name not in ("missing", "a list")),
    refused("an unknown label", drawn(lambda d: d["objects"][0].update(label="unicorn"))),
    refused("no objects", drawn(lambda d: d.pop("objects"))),
    refused("objects of text", drawn(lambda d: d.update(objects="car"))),
    refused("a height of text", drawn(lambda d: d.update(imgHeight="48"))),
    refused("a height of 0", drawn(lambda d: d.update(imgHeight=0))),
    refused("a height of -48", drawn(lambda d: d.update(imgHeight=-48))),
    refused("a height of 10^9", drawn(lambda d: d.update(imgHeight=10**9))),
    refused("a point of one number", drawn(lambda d: d["objects"][0].update(polygon=[[1]]))),
    refused("a point of text", drawn(lambda d: d["objects"][0].update(polygon=[["a", "b"]]))),
    refused("a corner at NaN", drawn(lambda d: d["objects"][0].update(polygon=NAN_CORNERS))),
)


# --- log.jsonl ---


def log_line(value: object, key: str = "epoch") -> Damage:
    """The first line of an epoch with another value."""

    def change(text: str) -> str:
        lines = text.splitlines()
        at = next(number for number, entry in enumerate(lines) if '"train"' in entry)
        entry = json.loads(lines[at]) | {key: value}
        lines[at] = json.dumps(entry)
        return "\n".join(lines) + "\n"

    return as_text(change)


def inserted(text: str) -> Damage:
    return as_text(lambda before: f"{text}\n{before}")


LOG = (
    *(case for case in FILE if case.name not in ("cut at half",)),
    refused("UTF-16", utf16),
    refused("line of text", inserted("epoch 1: loss 3")),
    refused("line of a list", inserted("[1, 2]")),
    refused("line of a number", inserted("1")),
    refused("line of null", inserted("null")),
    refused("line of 10000 levels", inserted('{"a": ' * 10_000 + "0" + "}" * 10_000)),
    refused("a torn line in the middle", inserted('{"kind": "train", "epo')),
    *(
        refused(f"epoch {value!r:.20}", log_line(value))
        for value in (None, "1", -1, 1.5, [0], {}, True, 10**400)
    ),
    ok("a torn last line", after(b'{"kind": "train", "epo')),
    ok("CRLF", as_text(lambda text: text.replace("\n", "\r\n"))),
    ok("byte-order mark", edited(lambda content: b"\xef\xbb\xbf" + content)),
)


def forbidden(path: Path) -> None:
    """A pickle that would run code."""
    _put(path, pickle.dumps({"weights": Evil()}))


# --- archives ---


def rezip(
    change: Callable[[zipfile.ZipFile, dict[str, bytes]], object],
    method: int = zipfile.ZIP_STORED,
) -> Damage:
    """The archive packed again: `change` may change the members, or write into the new file."""

    def damage(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        path.unlink()
        with zipfile.ZipFile(path, "w", method) as archive:
            change(archive, members)
            for name, content in members.items():
                archive.writestr(name, content)

    return damage


def zip_header(flag: int = 0, method: int | None = None) -> Damage:
    """The first member said to be encrypted, or packed by another method."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = content.index(start) + offset
            changed[at] |= flag
            if method is not None:
                changed[at + 2 : at + 4] = struct.pack("<H", method)
        return bytes(changed)

    return edited(change)


def member(name: str, content: bytes = b"x") -> Damage:
    return rezip(lambda archive, _: archive.writestr(name, content))


def without_labels(_: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    for name in [name for name in members if "semantic" in name]:
        del members[name]


def as_tar(path: Path) -> None:
    """The same files in a .tar.gz under this name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def link_to_passwd(path: Path) -> None:
    """A tar with a link that leads out in place of a label map."""
    as_tar(path)
    with tarfile.open(path) as archive:
        members = [(entry, archive.extractfile(entry).read()) for entry in archive]
    path.unlink()
    with tarfile.open(path, "w") as archive:
        for entry, content in members:
            if "semantic" in entry.name:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
                archive.addfile(entry)
            else:
                archive.addfile(entry, io.BytesIO(content))


ARCHIVE = (
    *(case for case in FILE if case.name in ("empty", "one byte", "cut at half", "text", "zeros")),
    *(case for case in FILE if case.name in ("HTML page", "Git LFS pointer", "behind a link")),
    refused("PNG", replaced(SOME_PNG)),
    refused("flipped byte", flip(0.5)),
    refused("encrypted", zip_header(flag=1)),
    refused("an unknown method", zip_header(method=77)),
    refused("damaged LZMA", zip_header(method=14)),
    refused("damaged bzip2", zip_header(method=12)),
    refused("damaged deflate", zip_header(method=8)),
    refused("../evil", member("../evil.png"), culprit="evil"),
    refused("an absolute path", member("/tmp/evil_was_here"), culprit="evil"),
    refused("backslashes", member("..\\..\\evil.png"), culprit="evil"),
    refused("a name of 300 letters", member("y" * 300), culprit="yyy"),
    refused("a file as a folder", member("training"), culprit="training"),
    refused("no labels", rezip(without_labels)),
    refused("links out", link_to_passwd),
    ok("deflate", rezip(lambda *_: None, zipfile.ZIP_DEFLATED)),
    ok("LZMA", rezip(lambda *_: None, zipfile.ZIP_LZMA)),
    ok("a tar", as_tar),
    ok("bytes before the zip", edited(lambda content: b"MZ" + bytes(100) + content)),
)

# --- .mat ---


def mat(change: Callable[[dict], object]) -> Damage:
    """The one structure of a .mat, {field: value}, changed in place or replaced."""

    def damage(path: Path) -> None:
        variables = scipy.io.loadmat(path)
        name = next(key for key in variables if not key.startswith("__"))
        structure = {field: variables[name][field][0, 0] for field in variables[name].dtype.names}
        changed = change(structure)
        path.unlink()
        scipy.io.savemat(path, changed if isinstance(changed, dict) else {name: structure})

    return damage


def field(name: str, change: Callable[[np.ndarray], object]) -> Damage:
    return mat(lambda structure: structure.update({name: change(structure[name])}))


MAT = (
    *FILE,
    refused("PNG", replaced(SOME_PNG)),
    refused("HDF5", replaced(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM\x89HDF\r\n\x1a\n")),
    refused("another variable", mat(lambda structure: {"x": structure})),
    refused("a matrix", mat(lambda _: {"GTcls": np.ones((48, 64)), "GTinst": np.ones((48, 64))})),
    refused("no Segmentation", mat(lambda structure: structure.pop("Segmentation") is None)),
    refused("no Boundaries", mat(lambda structure: structure.pop("Boundaries") is None)),
    refused("Segmentation of NaN", field("Segmentation", lambda a: np.full(a.shape, np.nan))),
    refused("Segmentation of -1", field("Segmentation", lambda a: np.full(a.shape, -1.0))),
    refused("Segmentation of 0.5", field("Segmentation", lambda a: np.full(a.shape, 0.5))),
    refused("Segmentation of 77", field("Segmentation", lambda a: np.full(a.shape, 77, np.uint8))),
    refused("Segmentation complex", field("Segmentation", lambda a: a.astype(complex))),
    refused("Segmentation as text", field("Segmentation", lambda a: "road")),
    refused("Segmentation in 3-D", field("Segmentation", lambda a: np.dstack([a, a]))),
    refused("Segmentation turned", field("Segmentation", lambda a: a.T)),
    refused("no pixels", field("Segmentation", lambda a: a[:0])),
    refused("Boundaries as text", field("Boundaries", lambda a: "edges")),
    refused("one boundary less", field("Boundaries", lambda a: a[1:])),
)


COCO = (
    *BAD_JSON,
    refused("no annotations", drawn(lambda d: d.pop("annotations"))),
    refused("images of numbers", drawn(lambda d: d.update(images=[1, 2]))),
    refused("an id of a list", drawn(lambda d: d["annotations"][0].update(id=[1]))),
    refused("an image_id of a list", drawn(lambda d: d["annotations"][0].update(image_id=[1]))),
    refused("a category_id of text", drawn(lambda d: d["annotations"][0].update(category_id="18"))),
    refused("an id twice", drawn(lambda d: d["annotations"][1].update(id=1)), "annotation 1"),
    refused("a name of a number", drawn(lambda d: d["images"][0].update(file_name=7))),
    refused("a name of nothing", drawn(lambda d: d["images"][0].update(file_name=" "))),
    refused("a height of text", drawn(lambda d: d["images"][0].update(height="48"))),
    refused("a height of -48", drawn(lambda d: d["images"][0].update(height=-48))),
    refused("a width of NaN", drawn(lambda d: d["images"][0].update(width=float("nan")))),
    refused("a category without a name", drawn(lambda d: d["categories"][0].pop("name"))),
    ok("a category with more", drawn(lambda d: d["categories"][0].update(keypoints=["nose"]))),
    ok("a licence", drawn(lambda d: d.update(licenses=[{"id": 1}]))),
)
# What is JSON and none of LabelMe's is counted, and no image's fault.
OTHER_JSON = ("a list", "a number", "null", "text", "-Infinity", "1e400", "Latin-1")
LABELME = (
    *(case for case in BAD_JSON if case.name not in OTHER_JSON),
    refused("shapes of text", drawn(lambda d: d.update(shapes="dog"))),
    refused("a shape of text", drawn(lambda d: d.update(shapes=["dog"]))),
    refused("a label of a number", drawn(lambda d: d["shapes"][0].update(label=7))),
    refused("points of text", drawn(lambda d: d["shapes"][0].update(points="1 2"))),
    refused("a path of a number", drawn(lambda d: d.update(imagePath=7))),
    refused("a height of text", drawn(lambda d: d.update(imageHeight="48"))),
    refused("a height of 10^9", drawn(lambda d: d.update(imageHeight=10**9))),
    refused("a corner at NaN", drawn(lambda d: d["shapes"][0].update(points=NAN_CORNERS))),
    ok("text in flags", drawn(lambda d: d.update(flags="none"))),
    ok("a list in flags", drawn(lambda d: d.update(flags=[1]))),
)
