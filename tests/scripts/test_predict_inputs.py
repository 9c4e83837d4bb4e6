"""predict.py's inputs: patterns, lists, KITTI's sequences; interrupted runs; who waits for whom."""

import contextlib
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_nets import registered, save_tiny

import predict
from data import errors as cli
from data.errors import InputError
from data.image_io import write_png
from utils import progress
from utils.prediction import overlap
from utils.prediction.image_files import find_images, output_names
from utils.prediction.overlap import Frame, NetClock, Pending, read_ahead

ROOT = Path(__file__).resolve().parents[2]
PIXELS = np.random.default_rng(8).integers(0, 256, (32, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.pth"
    save_tiny(path)
    return path


@pytest.fixture(autouse=True)
def tiny_nets() -> Iterator[None]:
    with registered():
        yield


def images(folder: Path, *names: str) -> Path:
    for name in names:
        write_png(folder / name, PIXELS)
    return folder


def run(net: Path, out: Path, *words: object) -> int:
    argv = [*words, "--checkpoint", net, "--out", out, "--device", "cpu"]
    return predict.main(predict.parse_args([str(word) for word in argv]))


def names(out: Path, *inputs: object) -> list[str]:
    """The names of the outputs of these inputs."""
    found, failures = find_images([Path(str(word)) for word in inputs], out, True)
    assert not failures
    return sorted(output_names(found).values())


def outputs(out: Path) -> dict[str, bytes]:
    """All files but the hidden ones that a killed process leaves."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


# --- patterns ---


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p/*.png", ["a", "b"]),
        ("p/?.png", ["a", "b"]),
        ("p/[!b].png", ["a"]),
        ("p/*", ["a", "b", "s/c", "s/t/d", "t/e"]),
        ("p/*/*.png", ["s/c", "t/e"]),
        ("p/**/*.png", ["a", "b", "s/c", "s/t/d", "t/e"]),
        ("p/**", ["a", "b", "s/c", "s/t/d", "t/e"]),
        ("p/**/t/*.png", ["s/t/d", "t/e"]),
        ("p/**/t", ["s/t/d", "t/e"]),
        ("p/s/**/d.png", ["t/d"]),
        ("*/a.png", ["p/a"]),
    ],
)
def test_patterns_that_the_shell_did_not_expand(tmp_path, monkeypatch, pattern, expected):
    images(
        tmp_path / "p", "a.png", "b.png", "s/c.png", "s/t/d.png", "t/e.png", ".h/x.png", ".y.png"
    )
    (tmp_path / "p/notes.txt").touch()
    (tmp_path / "p/t/back").symlink_to(tmp_path / "p")  # a circle
    monkeypatch.chdir(tmp_path)
    if pattern == "p/*":
        (tmp_path / "p/t/back").unlink()
    for word in (pattern, f"{tmp_path}/{pattern}"):
        assert names(tmp_path / "out", word) == expected


def test_a_pattern_that_matches_nothing_is_listed(tmp_path):
    images(tmp_path, "a.png")
    (tmp_path / "notes.txt").touch()
    words = [tmp_path / "*.png", tmp_path / "*.jpg", tmp_path / "*.txt"]
    found, failures = find_images(words, tmp_path / "out", True)
    assert list(found.values()) == [Path("a.png")]
    assert [str(failures[word])[:32] for word in words[1:]] == [
        "the pattern matches nothing; exp",
        "the pattern matches only notes.t",
    ]


def test_patterns_do_not_match_what_lies_in_the_output_folder(tmp_path):
    images(tmp_path, "a.png", "out/a_edges.png", "out/more/x.png", "other/b.png")
    for pattern, expected in (("**/*.png", ["a", "other/b"]), ("*/*.png", ["other/b"])):
        assert names(tmp_path / "out", tmp_path / pattern) == expected
    assert names(tmp_path / "out", tmp_path / "*") == ["a", "other/b"]


def test_a_name_with_brackets_that_exists_is_a_file(tmp_path, monkeypatch):
    images(tmp_path, "photo[1].png", "photo1.png", "camera:0", "-")
    assert names(tmp_path / "out", tmp_path / "photo[1].png") == ["photo[1]"]
    (tmp_path / "photo[1].png").unlink()
    assert names(tmp_path / "out", tmp_path / "photo[1].png") == ["photo1"]
    monkeypatch.chdir(tmp_path)
    assert names(tmp_path / "out", "camera:0", "-") == ["-", "camera:0"]


# --- lists on standard input ---


def from_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize(
    "content",
    [
        b"{p}/a.png\n{p}/s/b.png\n",
        b"{p}/a.png\r\n\r\n{p}/s/b.png",
        b"\xef\xbb\xbf{p}/a.png\n{p}/a.png\n{p}/s/b.png\n",
        b"{p}/a.png\0{p}/s/b.png\0",
    ],
    ids=["lines", "CRLF", "BOM", "NUL"],
)
def test_a_list_on_standard_input(tmp_path, monkeypatch, content):
    images(tmp_path / "p", "a.png", "s/b.png")
    from_stdin(monkeypatch, content.replace(b"{p}", bytes(tmp_path / "p")))
    assert names(tmp_path / "out", "-") == ["a", "s/b"]


def test_names_in_a_list_are_taken_as_they_are(tmp_path, monkeypatch):
    """Spaces, characters that patterns have, and with zero bytes between them, line breaks."""
    images(tmp_path, " a*.png", "a1.png", "two\nlines.png")
    monkeypatch.chdir(tmp_path)
    from_stdin(monkeypatch, b" a*.png\n")
    assert names(tmp_path / "out", "-") == [" a*"]
    from_stdin(monkeypatch, b"two\nlines.png\0 a*.png")
    assert names(tmp_path / "out", "-") == [" a*", "two\nlines"]


def test_no_result_leads_out_of_the_output_folder(tmp_path, monkeypatch):
    images(tmp_path, "a/x.png", "b/y.png", "here/z.png")
    monkeypatch.chdir(tmp_path / "here")
    from_stdin(monkeypatch, b"../a/x.png\n../here/../b/y.png\nz.png\n")
    assert names(tmp_path / "out", "-") == ["a/x", "b/y", "here/z"]
    assert names(tmp_path / "out", "../?/*.png") == ["a/x", "b/y"]
    monkeypatch.chdir(tmp_path)
    assert names(tmp_path / "out", "*/../b/*.png") == ["b/y"]
    monkeypatch.chdir(tmp_path / "b")
    assert names(tmp_path / "out", "?.png", "../*/../a/*.png") == ["a/x", "y"]


def test_missing_entries_of_a_list_are_listed_and_the_others_done(
    net, tmp_path, monkeypatch, capsys
):
    images(tmp_path / "p", "a.png", "b.png")
    from_stdin(
        monkeypatch, f"{tmp_path}/p/a.png\n{tmp_path}/p/none.png\n{tmp_path}/p/b.png".encode()
    )
    assert run(net, tmp_path / "out", "-") == 2
    said = capsys.readouterr()
    assert "2 of 2 images predicted" in said.out
    assert said.err == f"failed: {tmp_path}/p/none.png: no such file\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\r\n", "-: the list on standard input is empty; expected one path a line"),
        ("a.png".encode("utf-16"), "-: the list on standard input is UTF-16; expected UTF-8"),
    ],
)
def test_a_list_that_is_none(tmp_path, monkeypatch, content, message):
    from_stdin(monkeypatch, content)
    with pytest.raises(InputError, match=re.escape(message)):
        find_images([Path("-")], tmp_path / "out", True)


# --- KITTI odometry ---


def test_sequences_of_kitti_lie_side_by_side(tmp_path):
    """However they are named, the results of one image have one place."""
    sequences = tmp_path / "odometry/sequences"
    images(sequences, *(f"{s}/image_{c}/000000.png" for s in ("07", "10") for c in (2, 3)))
    (sequences / "07/calib.txt").touch()
    out = tmp_path / "out"
    every = ["07/image_2/000000", "07/image_3/000000", "10/image_2/000000", "10/image_3/000000"]
    assert names(out, sequences) == every
    assert names(out, *(sequences / s / f"image_{c}" for s in ("07", "10") for c in "23")) == every
    assert names(out, sequences / "07") == every[:2]
    assert names(out, sequences / "07/image_2") == every[:1]
    assert names(out, sequences / "*/image_2") == every[::2]
    assert names(out, *(sequences / s / "image_2/000000.png" for s in ("07", "10"))) == every[::2]
    assert names(out, sequences.parent) == [f"sequences/{name}" for name in every]


# --- interrupted runs ---


def test_skip_existing_does_what_is_left(net, tmp_path, capsys):
    images(tmp_path / "p", "a.png", "b.png", "c.png")
    out = tmp_path / "out"
    flags = (tmp_path / "p", "--save-bits")
    assert run(net, tmp_path / "whole", *flags) == 0
    assert run(net, out, *flags) == 0
    (out / "b_overlay.png").unlink()
    (out / "bits/c.png").write_bytes(b"")  # as a power cut may leave it
    kept = (out / "a_edges.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run(net, out, *flags, "--skip-existing") == 0
    said = capsys.readouterr()
    assert f"2 of 3 images predicted, 1 was there already: see {out}" in said.out
    assert not said.err
    assert outputs(out) == outputs(tmp_path / "whole")
    assert (out / "a_edges.png").stat().st_mtime_ns == kept
    assert run(net, out, *flags, "--skip-existing") == 0
    assert "0 of 3 images predicted, 3 were there already" in capsys.readouterr().out


def test_skip_existing_says_what_may_be_of_another_net_or_image(net, tmp_path, capsys):
    images(tmp_path / "p", "a.png", "b.png")
    out = tmp_path / "out"
    assert run(net, out, tmp_path / "p") == 0
    capsys.readouterr()
    later = time.time() + 60
    os.utime(tmp_path / "p/b.png", (later, later))
    newer = tmp_path / "newer.pth"
    save_tiny(newer)
    os.utime(newer, (later, later))
    assert run(newer, out, tmp_path / "p", "--skip-existing") == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: of 1 input, the files that are there are older than the input; give --overwrite to "
        "write all again",
        f"note: of 2 inputs, the files that are there are older than {newer} and may be of another "
        "net; give --overwrite to write all again",
    ]


def test_skip_existing_and_overwrite_exclude_each_other(capsys):
    argv = ["x.png", "--checkpoint", "c", "--out", "o", "--skip-existing", "--overwrite"]
    with pytest.raises(SystemExit) as ended:
        predict.parse_args(argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --overwrite writes all files again, --skip-existing none")


@pytest.mark.slow
def test_a_killed_run_that_is_gone_on_with_gives_the_files_of_a_whole_one(net, tmp_path):
    images(tmp_path / "p", *(f"{number:03d}.png" for number in range(60)))
    out = tmp_path / "out"
    code = (
        "import sys; from helpers.tiny_nets import registered; import predict\n"
        "with registered(): sys.exit(predict.main(predict.parse_args(sys.argv[1:])))"
    )
    flags = [tmp_path / "p", "--checkpoint", net, "--out", out, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    while process.poll() is None and len(list(out.glob("*.png"))) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(list(out.glob("*_overlay.png"))) < 60
    assert run(net, out, tmp_path / "p", "--skip-existing") == 0
    assert run(net, tmp_path / "whole", tmp_path / "p") == 0
    assert outputs(out) == outputs(tmp_path / "whole")


# --- reading ahead, writing behind ---


def test_images_are_read_a_few_ahead_and_in_order():
    begun: list[int] = []

    def job(number: int) -> Frame:
        begun.append(number)
        return Frame(np.full((1, 1, 3), number, np.uint8))

    jobs = (lambda number=number: job(number) for number in range(50))
    seen = []
    for future in read_ahead(jobs):
        frame = future.result()
        assert frame is not None
        seen.append(int(frame.image[0, 0, 0]))
        assert len(begun) <= len(seen) + overlap.AHEAD
    assert seen == list(range(50))


def test_no_more_is_read_while_large_images_wait(monkeypatch):
    monkeypatch.setattr(overlap, "AHEAD_BYTES", 100)
    made: list[int] = []
    go = threading.Event()

    def job() -> Frame:
        go.wait(20)
        made.append(1)
        return Frame(np.zeros((10, 10, 3), np.uint8))

    with contextlib.closing(read_ahead([job] * 20)) as frames:
        taken = [next(frames)]  # the first few are begun before the size of any is known
        go.set()
        pause = threading.Event()
        for _ in range(200):
            pause.wait(0.05)
            if len(made) == overlap.AHEAD:
                break
        pause.wait(0.05)
        taken += itertools.islice(frames, overlap.AHEAD - 2)
        assert len(made) == overlap.AHEAD
        assert len(taken) + len(list(frames)) == 20


def test_reading_stops_when_the_net_does():
    made: list[int] = []

    def job() -> Frame:
        made.append(1)
        return Frame(PIXELS)

    frames = read_ahead([job] * 1000)
    next(frames).result()
    frames.close()
    assert len(made) <= overlap.AHEAD + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_few_results_wait_to_be_written():
    pending = Pending({})
    pending.most_bytes = 1000
    held: list[int] = []
    go = threading.Event()

    def write(number: int) -> None:
        go.wait()

    with ThreadPoolExecutor(1) as pool:
        timer = threading.Timer(0.2, go.set)
        timer.start()
        for number in range(10):
            pending.add(Path(str(number)), pool.submit(write, number), 300)
            held.append(pending.bytes_held)
        pending.wait_for_all()
    assert max(held) <= 1000
    assert pending.bytes_held == 0


def test_what_fails_for_one_image_is_noted_and_what_fails_for_all_is_raised():
    failures: dict[Path, Exception] = {}
    pending = Pending(failures)
    for name, error in (("a", InputError("x")), ("b", None), ("c", PermissionError(13, "no"))):
        pending.add(Path(name), ended(error), 1)
    pending.wait_for_all()
    assert list(failures) == [Path("a"), Path("c")]
    for error in (OSError(28, "No space left on device"), KeyError("ours")):
        pending.add(Path("d"), ended(error), 1)
        with pytest.raises(type(error)):
            pending.wait_for_all()
    strict = Pending()
    strict.add(Path("a"), ended(InputError("x")), 1)
    with pytest.raises(InputError, match="x"):
        strict.wait_for_all()


def ended(error: Exception | None) -> "Future[None]":
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


def test_the_share_of_time_that_the_net_waited(monkeypatch):
    now = iter([0.0, 1.0, 1.0, 8.0, 8.0, 10.0])
    monkeypatch.setattr(overlap.time, "perf_counter", lambda: next(now))
    clock = NetClock()
    for what in ("images", "net", "files"):
        with clock.of(what):
            pass
    assert clock.describe() == (
        "net busy 70% of 10.0 s, waited 10% for images to be read and 20% for files to be written"
    )
    both = NetClock()
    both.add(clock)
    both.add(NetClock({"net": 10.0}))
    assert (both.total, both.share("net"), both.share("files")) == (20, 0.85, 0.1)
    assert NetClock({"net": 12.0, "images": 0.01}).describe() == "net busy 100% of 12.0 s"
    assert NetClock().share("net") == 0


def test_a_run_says_how_busy_the_net_was(net, tmp_path, capsys):
    images(tmp_path / "p", "a.png", "b.png")
    run(net, tmp_path / "out", tmp_path / "p")
    said = re.search(r"^net busy (\d+)% of \d+\.\d s", capsys.readouterr().out, re.MULTILINE)
    assert said
    assert 0 < int(said[1]) <= 100


# --- progress ---


def test_a_bar_on_a_terminal_counts_images_and_frames(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress_bar(3, show=True, unit="frame", title="clip.mp4") as bar:
        bar.update(3)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.match(r"clip\.mp4: 100%.* 3/3 \[00:00<00:00, .*frame/s\]", last)


def test_a_log_file_gets_a_line_a_minute(monkeypatch, capsys):
    """100 images of 3 seconds each, by a clock that is set by hand."""
    now = [1000.0]
    with progress.progress_bar(100, show=True) as bar:
        bar._time = lambda: now[0]
        bar.start_t = bar.last_print_t = now[0]
        for _ in range(100):
            now[0] += 3
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 6
    assert re.match(r".* 20/100 \[01:00<04:00, +3.00s/image\]", lines[0])
    with progress.progress_bar(5, show=False) as bar:
        bar.update()
    assert not capsys.readouterr().err


def test_a_camera_is_named_as_one(tmp_path, capsys, net):
    assert cli.run(lambda: run(net, tmp_path / "out", "0")) == 2
    assert "0: no such file" in capsys.readouterr().err
    assert names(tmp_path / "out", "camera:3") == ["camera3"]


@pytest.mark.parametrize("word", ["camera:x", "camera:-1"])
def test_a_camera_has_a_number(net, tmp_path, word):
    with pytest.raises(InputError, match=f"{word}: expected the number of a camera"):
        run(net, tmp_path / "out", word)
