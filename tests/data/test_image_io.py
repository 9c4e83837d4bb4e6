"""data.image_io: headers, images and maps of ids: right, or one line, whatever the bytes."""

import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.image_files import bmp, chunk, encoded, packed, png, tiff
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from data.errors import InputError
from data.image_io import (
    image_size,
    read_header,
    read_image,
    read_index,
    require_size,
    turn_upright,
)
from data.image_io.png_jpeg import exif_orientation
from data.image_io.stderr import held_stderr

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF")
IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)
# Hypothesis calls a test many times with one temporary folder, which is meant.
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def scene(height: int = 18, width: int = 26) -> np.ndarray:
    """uint8 (H, W, 3): smooth, so that lossy kinds stay near."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 9, columns * 7, 200 - rows * 4 - columns * 2], 2).astype(np.uint8)


def image_of(path: Path) -> np.ndarray | None:
    """What read_image gives; None for its one line."""
    try:
        image = read_image(path)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(f"{path}: ")
        return None
    assert image.dtype == np.uint8
    assert image.shape == (*image_size(path), 3)
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_size_and_pixels_of_every_kind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"  # the ending does not matter
    path.write_bytes(encoded(scene(), kind))
    header = read_header(path)
    assert header.kind == kind
    assert (header.height, header.width) == image_size(path) == (18, 26)
    image = image_of(path)
    assert image is not None
    assert np.abs(image.astype(int) - scene()).mean() < 12


@pytest.mark.parametrize("kind", ["hdr", "pam", "ras", "pfm"])
def test_kinds_that_pillow_does_not_know(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"image.{kind}"
    drawn = scene()[:, :, ::-1]
    assert cv2.imwrite(
        str(path), drawn.astype(np.float32) / 255 if kind in ("hdr", "pfm") else drawn
    )
    assert image_size(path) == (18, 26)
    assert read_image(path).shape == (18, 26, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_off_anywhere_are_named(tmp_path: Path, kind: str) -> None:
    """At every length: a file that is cut off is an image only where nothing of it is missing."""
    content = encoded(scene(), kind)
    path = tmp_path / "image"
    path.write_bytes(content)
    whole = read_image(path)
    step = max(1, len(content) // 150)
    for length in {*range(0, len(content), step), *range(max(0, len(content) - 12), len(content))}:
        path.write_bytes(content[:length])
        image = image_of(path)
        assert image is None or np.array_equal(image, whole), length
        if kind in ("PNG", "JPEG", "BMP", "PPM"):
            assert image is None, length


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_files_with_wrong_bytes_are_an_image_of_their_size_or_one_line(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(encoded(scene(), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of them in the header, where they do most.
        last = data.draw(st.sampled_from([40, len(content) - 1]))
        at = data.draw(st.integers(0, min(last, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "image"
    path.write_bytes(content)
    image = image_of(path)
    if kind == "PNG" and image is not None:  # which has checksums
        assert np.array_equal(image, scene())


@QUICK
@given(st.sampled_from([b"", *(encoded(scene(4, 4), kind)[:9] for kind in KINDS)]), st.binary())
def test_random_bytes_are_no_image(tmp_path: Path, start: bytes, rest: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(start + rest)
    for read in (read_header, read_image, read_index):
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_bytes_after_the_end_are_no_matter(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "BMP", "GIF", "PPM"):
        (tmp_path / kind).write_bytes(encoded(scene(), kind))
        before = read_image(tmp_path / kind)
        (tmp_path / kind).write_bytes(encoded(scene(), kind) + b"\0after" * 50)
        np.testing.assert_array_equal(read_image(tmp_path / kind), before)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\x93NUMPY\x01", "is a NumPy array"),
        (b"plain text", "is no image that can be read .it begins with b'plain text'"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI", "is a PNG of Apple's own kind"),
        (png([b"abc"], 3)[:30], "cut off in its header"),
        (png([b"abc"], 3, bits=3), "the PNG's header is damaged"),
        (png([b"abc"], 3, bits=16, colour=3), "the PNG's header is damaged"),
        (png([], 3), "the PNG's header is damaged"),
        (png([b"abc"] * 9, 3, compressed=zlib.compress(b"\0abc")), "cut off or damaged"),
        (png([b"abc"], 3)[:-5] + b"xxxxx", "does not have its checksum"),
        (b"\xff\xd8\xff\xe0", "the JPEG is cut off or damaged in its header"),
        (png([b"abc"], 1 << 30), "pixels|is cut off"),
        (png([b"abc"] * 2, 1 << 30), "is 1073741824x2, 2,147,483,648 pixels; expected at most"),
        (png([b"abc"], (1 << 20) + 1), "expected sides of at most 1,048,576 pixels"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: .*{words}"):
        read_image(path)


def test_named_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (read_image, read_index, read_header, image_size):
        with pytest.raises(InputError, match="is a named pipe"):
            read(tmp_path / "pipe.png")
        with pytest.raises(InputError, match="is a folder"):
            read(tmp_path)
        with pytest.raises(FileNotFoundError, match="no such image"):
            read(tmp_path / "none.png")


def test_bounds_come_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "large.png")  # 50 kB
    path = tmp_path / "large.png"
    for read in (read_image, read_index):
        with pytest.raises(
            InputError, match=r"20000x20000, 400,000,000 pixels; expected at most 9"
        ):
            read(path, max_pixels=9)
        monkeypatch.setattr("data.system.memory.available_memory", lambda: 10**8)
        with pytest.raises(
            InputError, match=r"takes about 2\.\d GB of memory, and 0\.1 GB are free"
        ):
            read(path)


def test_sizes_compared() -> None:
    require_size(None, (2, 3), "label", None, None)
    require_size(np.zeros((2, 3)), (2, 3), "label", "a", "b")
    with pytest.raises(
        InputError, match=r"a: the label is 3x2, but its image b is 2x3; each label"
    ):
        require_size(np.zeros((2, 3)), (3, 2), "label", "a", "b")


# --- EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_orientation_is_pillow_s(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "turned"
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x0132] = "a title", orientation, "2026:01:01 00:00:00"
    path.write_bytes(encoded(scene(), kind, exif=exif))
    assert read_header(path).orientation == orientation
    stored = read_image(path)
    if kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(stored, scene())
    assert stored.shape == (18, 26, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(turn_upright(stored, orientation), expected)
    np.testing.assert_array_equal(read_image(path, upright=True), expected)
    labels = stored[:, :, 0]
    np.testing.assert_array_equal(turn_upright(labels, orientation), expected[:, :, 0])


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]),
)
def test_damaged_exif_data_state_no_orientation(data: bytes, start: bytes) -> None:
    assert exif_orientation(start + data) in range(1, 9)


@pytest.mark.parametrize("order", "<>")
def test_exif_of_both_byte_orders_and_all_forms_of_numbers(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    for kind, form in ((1, "B3x"), (3, "H2x"), (4, "I")):
        entry = struct.pack(f"{order}HHI{form}", 0x0112, kind, 1, 6)
        data = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry
        assert exif_orientation(data) == 6
    for value in (0, 9):
        entry = struct.pack(f"{order}HHIH2x", 0x0112, 3, 1, value)
        assert exif_orientation(mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry) == 1


def test_odd_jpegs(tmp_path: Path) -> None:
    """Progressive ones, fill bytes, markers without length, a thumbnail within, EXIF after SOF."""
    plain = encoded(scene(), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    segment = exif.tobytes()
    thumbnail = b"Exif\0\0" + b"\0" * 20 + encoded(scene(4, 5), "JPEG")
    scan = plain.index(b"\xff\xda")
    odd = {
        "progressive": encoded(scene(), "JPEG", progressive=True),
        "fill": plain[:2] + b"\xff" * 7 + plain[2:],
        "thumbnail": plain[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(thumbnail) + 2)
        + thumbnail
        + plain[2:],
        "late": plain[:scan]
        + b"\xff\xe1"
        + struct.pack(">H", len(segment) + 2)
        + segment
        + plain[scan:],
        "restart": plain[:2] + b"\xff\xd0\xff\x01" + plain[2:],
    }
    for name, content in odd.items():
        (tmp_path / name).write_bytes(content)
        assert image_size(tmp_path / name) == (18, 26), name
        assert read_header(tmp_path / name).orientation == (6 if name == "late" else 1), name
    for name in ("progressive", "fill", "thumbnail", "late"):
        assert image_of(tmp_path / name) is not None, name


# --- maps of ids


def written(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "ids").write_bytes(content)
    return tmp_path / "ids"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("palette", [False, True])
def test_ids_of_png_are_those_that_are_stored(tmp_path: Path, bits: int, palette: bool) -> None:
    if palette and bits == 16:
        return
    ids = IDS.astype(np.uint16) * 5461 if bits == 16 else IDS % min(2**bits, 128)
    colours = np.random.default_rng(0).integers(0, 256, 3 * 2 ** min(bits, 8), np.uint8)
    extra = chunk(b"PLTE", colours.tobytes()) if palette else b""
    content = png(packed(ids, bits), 4, bits, 3 if palette else 0, extra)
    for more in (b"", chunk(b"tRNS", b"\0\1"), chunk(b"gAMA", struct.pack(">I", 220000))):
        at = content.index(b"IDAT") - 4
        found = read_index(written(tmp_path, content[:at] + more + content[at:]))
        assert found.dtype == (np.uint16 if bits == 16 else np.uint8)
        np.testing.assert_array_equal(found, ids)


GREYS = {
    "same": lambda k, n: k,
    "turned": lambda k, n: n - 1 - k,
    "spread": lambda k, n: k * (255 // max(1, n - 1)),
    "colours": None,
}


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("greys", GREYS)
@pytest.mark.parametrize("used", ["all", "two"])
@pytest.mark.parametrize("down", [False, True])
def test_ids_of_bmp_are_its_indices(
    tmp_path: Path, bits: int, greys: str, used: str, down: bool
) -> None:
    """OpenCV gives a palette's greys, and Pillow wrong numbers for some palettes."""
    count = 2 if used == "two" else 2**bits
    ids = np.concatenate([IDS, IDS[::-1, :3]], axis=1) % min(count, 128)
    grey: Callable[[int, int], int] | None = GREYS[greys]
    palette = [(k, 7, 255 - k) if grey is None else (grey(k, count),) * 3 for k in range(count)]
    path = written(tmp_path, bmp(ids, bits, palette, down=down))
    np.testing.assert_array_equal(read_index(path), ids)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut off"):
        read_index(path)


def test_ids_of_tiff_and_pgm(tmp_path: Path) -> None:
    wide = IDS.astype("<u2") * 5000
    for bits, ids in ((8, IDS), (16, wide)):
        rows = [row.tobytes() for row in ids]
        np.testing.assert_array_equal(read_index(written(tmp_path, tiff(rows, 4, bits))), ids)
        for odd in ({"photometric": 0}, {"sample": 2}):
            with pytest.raises(InputError):
                read_index(written(tmp_path, tiff(rows, 4, bits, **odd)))
    for bits in (1, 2, 4, 12):
        rows = [row.ljust(8, b"\0") for row in packed(IDS % 2, min(bits, 8))]
        with pytest.raises(InputError, match=f"is a TIFF of {bits}-bit numbers"):
            read_index(written(tmp_path, tiff(rows, 4, bits)))
    for highest, ids in (
        (255, IDS),
        (15, IDS),
        (65535, (IDS * 5).astype(">u2")),
        (300, IDS.astype(">u2")),
    ):
        path = written(tmp_path, b"P5\n# a comment\n4 3\n%d\n" % highest + ids.tobytes())
        np.testing.assert_array_equal(read_index(path), ids)
    with pytest.raises(InputError, match="PBM"):
        read_index(written(tmp_path, b"P4\n4 3\n\xa0\x50\xf0"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "I", "F", "I;16", "CMYK"]
)
@pytest.mark.parametrize("kind", [*KINDS, "SUN", "TGA", "ICO", "PCX"])
def test_ids_of_pillow_s_files_are_right_or_refused(tmp_path: Path, kind: str, mode: str) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2 if mode == "1" else 200, (5, 7)).astype(np.uint8)
    expected = ids.astype(np.uint16) * 300 if mode == "I;16" else ids
    if mode == "P":
        image = Image.frombytes("P", (7, 5), ids.tobytes())
        image.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())
    elif mode == "1":
        image = Image.fromarray(ids * 255).convert("1")
    else:
        image = Image.fromarray(expected)
        image = image if image.mode == mode else image.convert(mode)
    try:
        image.save(tmp_path / "ids", kind)
    except (OSError, KeyError, ValueError):
        return  # a mode that the kind cannot hold
    try:
        found = read_index(tmp_path / "ids")
    except InputError as error:
        assert "expected" in str(error) or "replace it" in str(error)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("JPEG", "is a JPEG, which does not keep ids exactly"),
        ("GIF", "is a GIF, expected a map of ids as PNG"),
        ("TIFF", "of compression 7"),
    ],
)
def test_kinds_that_may_not_keep_ids(tmp_path: Path, kind: str, words: str) -> None:
    grey = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
    options = {"compression": "jpeg"} if kind == "TIFF" else {}
    path = written(tmp_path, encoded(grey, kind, **options))
    with pytest.raises(InputError, match=words):
        read_index(path)


def test_maps_of_other_numbers_are_refused(tmp_path: Path) -> None:
    for array, words in (
        (IDS.astype(np.float32), "found numbers of float32, expected ids of 8 or 16 bits"),
        (IDS.astype(np.int32), "found numbers of int32"),
    ):
        Image.fromarray(array).save(tmp_path / "map.png", "TIFF")  # whatever the ending says
        with pytest.raises(InputError, match=words):
            read_index(tmp_path / "map.png")


# --- what libraries print


JPEG_NOISE = """
import sys, cv2, numpy as np
from data.image_io import read_image
from data.errors import InputError
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
content = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
middle = len(content) // 2
content[middle : middle + 40] = b"\\xff\\xd3" * 20
open(sys.argv[1], "wb").write(content)
try:
    read_image(sys.argv[1])
except InputError as error:
    print(error)
"""


def test_a_jpeg_that_breaks_inside_is_named_and_libjpeg_is_quiet(tmp_path: Path) -> None:
    """libjpeg decodes it, with a warning on stderr."""
    command = [sys.executable, "-c", JPEG_NOISE, tmp_path / "broken.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "the JPEG is cut off or damaged" in done.stdout
    assert done.stderr == ""


def test_what_decoders_print_is_held_and_what_others_print_passes(
    capfd: pytest.CaptureFixture,
) -> None:
    with held_stderr() as held:
        os.write(2, b"Corrupt JPEG data: 3 extraneous bytes\n")
        os.write(2, b"\r 50%|#####     | 1/2\n")
        os.write(2, b"libpng warning: iCCP\n[ WARN:0@0.1] global x.cpp:1 read\n> more\n")
        os.write(2, b"somebody's line\nand no end")
    assert held.text.splitlines() == [
        b"Corrupt JPEG data: 3 extraneous bytes",
        b"libpng warning: iCCP",
        b"[ WARN:0@0.1] global x.cpp:1 read",
        b"> more",
    ]
    assert capfd.readouterr().err == "\r 50%|#####     | 1/2\nsomebody's line\nand no end"


@pytest.mark.parametrize("alone", [True, False])
def test_threads_lose_nothing_and_know_whose_text_it_is(
    alone: bool, capfd: pytest.CaptureFixture
) -> None:
    """Alone, each has its own text; side by side, at least that, and knows that it shared."""
    texts: list[bytes] = []

    def decode(number: int) -> None:
        own = b"Corrupt JPEG data: %d\n" % number
        for _ in range(20):
            with held_stderr(alone=alone) as held:
                os.write(2, own)
            assert held.text == own or (held.shared and not alone)
            texts.append(own if own in held.text else held.text)

    def talk() -> None:
        for number in range(200):
            os.write(2, b"line %d\n" % number)

    threads = [
        *(threading.Thread(target=decode, args=(k,)) for k in range(4)),
        threading.Thread(target=talk),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == sorted(
        b"Corrupt JPEG data: %d\n" % k for k in range(4) for _ in range(20)
    )
    # None is lost; where a block ends, one may overtake the line before it.
    said = capfd.readouterr().err.splitlines()
    assert sorted(said) == sorted(f"line {number}" for number in range(200))


def test_damage_of_one_thread_is_not_said_of_anothers_image(tmp_path: Path) -> None:
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8), (0, 0), 2.0
    )
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3] + b"\xff\xd9")

    def status(name: str) -> str:
        try:
            read_image(tmp_path / name)
        except InputError as error:
            assert "damaged inside" in str(error)
            return "damaged"
        return "whole"

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(status, ["whole.jpg", "cut.jpg"] * 100))
    assert found == ["whole", "damaged"] * 100


def test_an_error_within_gives_stderr_back(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(KeyError), held_stderr():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


FORK = """
import os, sys, threading
from data.image_io.stderr import held_stderr
inside, forked = threading.Event(), threading.Event()
def hold():
    with held_stderr():
        inside.set()
        forked.wait()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    with held_stderr():  # nobody in this process holds the lock
        pass
    os.write(2, b"child\\n")
    os._exit(0)
status = os.waitpid(child, 0)[1]
forked.set()
thread.join()
os.write(2, b"parent\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_that_is_forked_meanwhile_has_its_stderr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "child\nparent\n")


CLOSED = """
import os, sys
os.close(2)
from data.image_io import read_image
print(read_image(sys.argv[1]).shape)
"""


def test_images_are_read_where_stderr_is_closed(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(encoded(scene(), "JPEG"))
    command = [sys.executable, "-c", CLOSED, tmp_path / "image.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "(18, 26, 3)\n"


def test_pillow_keeps_its_own_bound(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "image").write_bytes(encoded(scene(), "GIF"))
    read_header(tmp_path / "image")
    assert before is not None
    assert before == Image.MAX_IMAGE_PIXELS
