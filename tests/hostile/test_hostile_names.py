"""Names of inputs that are odd or mean two things, and outputs that are in the way."""

import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from helpers.bench import Bench, assert_refused
from helpers.doors import BY_NAME, Door, Ended, outputs

LATIN = os.fsdecode(b"stra\xdfe")
# Doors that find their inputs in a folder: the folder, a file, those that go with it.
FOLDERS = {
    "predict-edge": ("in/images", "b.png", ()),
    "predict-video": ("in/clips", "b.mp4", ()),
    "gtlabel": ("in/labels", "b.png", ("in/instances",)),
    "test-edge-npz": ("in/npz", "b.npz", ("in/labels/gt_thin", "in/labels/gt_raw")),
    "test-edge-bits": ("in/bits", "b.png", ("in/labels/gt_thin", "in/labels/gt_raw")),
    "test-edge-classes": (
        "in/prob/class_001",
        "b.png",
        ("in/prob/class_002", "in/prob/class_003", "in/labels/gt_thin", "in/labels/gt_raw"),
    ),
    "test-seg-files": ("in/predictions", "b.png", ("in/labels",)),
    "kitti-odometry": (
        "in/maps/03",
        "000001.png",
        ("in/numbers/03", "in/odometry/sequences/03/image_2"),
    ),
}
# name -> the doors that refuse it; all others take it as any other name.
ODD_NAMES = {
    LATIN: {"predict-video", "gtlabel", "kitti-odometry", "test-seg-files"},
    "a\nb": {"gtlabel", "kitti-odometry"},
    "two words": {"gtlabel", "kitti-odometry"},
    "tab\there": {"gtlabel", "kitti-odometry"},
    "-rf": set(),
    "--out": set(),
    "e\u0301": set(),
    "\U0001f600": set(),
    "\u202egnp": set(),
    "%s%d{0}": set(),
    "a.b.c": set(),
    "x" * 210: set(),
    "$HOME`ls`": set(),
    "a'b\"c": set(),
    "<b>&amp;": set(),
    "con": set(),
    "\u7532\u9aa8": set(),
}


def rename(work: Path, door: str, name: str) -> None:
    """The file of that name in all of the door's folders."""
    folder, file, others = FOLDERS[door]
    for place in (folder, *others):
        for path in (work / place).glob(f"{Path(file).stem}.*"):
            path.rename(path.with_name(f"{name}{path.suffix}"))


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("door", FOLDERS)
def test_an_odd_name(door: str, name: str, bench: Bench) -> None:
    good = bench.good(BY_NAME[door])
    work = bench.work(BY_NAME[door])
    rename(work, door, name)
    ended = bench.call(BY_NAME[door], work)
    if door in ODD_NAMES[name]:
        assert_refused(ended, shown(name), name, repr(name)[1:-1])
        assert not list((work / "out").rglob("*.png"))
        return
    assert ended.status == 0, ended.err
    if door.startswith("test"):
        assert {**ended.seen, "images": 0} == {**good.seen, "images": 0}
    else:
        stem = Path(FOLDERS[door][1]).stem
        made = {key for key in outputs(work) if key.endswith(".png")}
        expected = {key.replace(f"{stem}_", f"{name}_", 1) for key in good.seen}
        assert made == {key for key in expected if key.endswith(".png")} or len(made) == len(
            {key for key in good.seen if key.endswith(".png")}
        )


def shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def copied(work: Path, door: str, name: str) -> None:
    """A second file beside the good one, in the first folder alone."""
    folder, file, _ = FOLDERS[door]
    (work / folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(work / folder / file, work / folder / name)


def twins(work: Path, door: str) -> None:
    """The same name in two Unicode spellings."""
    ending = Path(FOLDERS[door][1]).suffix
    for form in ("NFC", "NFD"):
        copied(work, door, unicodedata.normalize(form, "\u00e9") + ending)


def capital(work: Path, door: str) -> None:
    file = Path(FOLDERS[door][1])
    copied(work, door, f"{file.stem}{file.suffix.upper()}")


@pytest.mark.parametrize("add", [twins, capital])
@pytest.mark.parametrize(
    "door", ["gtlabel", "test-edge-npz", "test-edge-bits", "test-edge-classes", "test-seg-files"]
)
def test_two_files_of_one_name(door: str, add: Callable[[Path, str], None], bench: Bench) -> None:
    work = bench.work(BY_NAME[door])
    add(work, door)
    file = Path(FOLDERS[door][1])
    assert_refused(bench.call(BY_NAME[door], work), f"{file.stem}.", "\u00e9", "e\u0301")


# Files and folders beside the inputs that are none.
def hidden(work: Path, door: str) -> None:
    for name in (".hidden.png", "._b.png", ".DS_Store"):
        (work / FOLDERS[door][0] / name).write_bytes(b"no image")


def hidden_folder(work: Path, door: str) -> None:
    folder = work / FOLDERS[door][0] / ".git"
    folder.mkdir()
    (folder / "b.png").write_bytes(b"no image")


def named_as_one(work: Path, door: str) -> None:
    """Folders that are named as a file of the sort."""
    (work / FOLDERS[door][0] / f"z{Path(FOLDERS[door][1]).suffix}").mkdir()


def loop(work: Path, door: str) -> None:
    (work / FOLDERS[door][0] / "loop").symlink_to("..", target_is_directory=True)


def own_loop(work: Path, door: str) -> None:
    (work / FOLDERS[door][0] / "here").symlink_to(".", target_is_directory=True)


def a_pipe(work: Path, door: str) -> None:
    os.mkfifo(work / FOLDERS[door][0] / f"pipe{Path(FOLDERS[door][1]).suffix}")


def a_broken_link(work: Path, door: str) -> None:
    (work / FOLDERS[door][0] / f"gone{Path(FOLDERS[door][1]).suffix}").symlink_to("nowhere")


def a_text(work: Path, door: str) -> None:
    (work / FOLDERS[door][0] / "README.txt").write_text("images of a street")


@pytest.mark.parametrize(
    "add",
    [hidden, hidden_folder, named_as_one, own_loop, a_pipe, a_broken_link, a_text],
    ids=lambda add: add.__name__,
)
@pytest.mark.parametrize("door", FOLDERS)
def test_what_is_no_input_is_passed_by(
    door: str, add: Callable[[Path, str], None], bench: Bench
) -> None:
    good = bench.good(BY_NAME[door])
    work = bench.work(BY_NAME[door])
    add(work, door)
    ended = bench.call(BY_NAME[door], work)
    assert ended.status == 0, ended.err
    assert ended.seen == good.seen


def test_a_linked_folder_is_followed(bench: Bench) -> None:
    """And its files are found below its name."""
    door = BY_NAME["gtlabel-id-map"]
    work = bench.work(door)
    (work / "in/elsewhere").mkdir()
    shutil.copy(work / "in/labels/a.png", work / "in/elsewhere/c.png")
    (work / "in/labels/seq").symlink_to("../elsewhere", target_is_directory=True)
    ended = bench.call(door, work)
    assert ended.status == 0, ended.err
    assert (work / "out/seq/c_edge.png").is_file()
    assert "3 made" in ended.out


# --- outputs ---

# What is written, and whether it is a file.
OUT = {
    "predict-edge": ("--out", False),
    "test-edge": ("--out", False),
    "test-seg-files": ("--out", False),
    "train-edge": ("--run-dir", False),
    "gtlabel": ("--out", False),
    "gtlabel-camvid": ("--out", False),
    "cityscapes_gtlabel": ("--out", False),
    "sbd_gtlabel": ("--out", False),
    "kitti_gtlabel": ("--out", False),
    "kitti-odometry": ("--out", False),
    "submit": ("--submit", False),
    "scenes": ("--root", False),
    "download": ("--out", False),
    "curves": ("--out", True),
}


def file_in_the_way(work: Path, is_file: bool) -> Path:
    path = work / "o/way"
    path.parent.mkdir()
    if is_file:
        path.mkdir()
        (path / "mine").write_text("mine")
    else:
        path.write_text("mine")
    return path


def below_a_file(work: Path, is_file: bool) -> Path:
    (work / "o").write_text("mine")
    return work / "o/way"


def not_writable(work: Path, is_file: bool) -> Path:
    """A place where nobody, not even root, can make anything."""
    return Path("/proc/hostile/way")


def a_pipe_in_the_way(work: Path, is_file: bool) -> Path:
    os.mkfifo(work / "way")
    return work / "way"


def too_long(work: Path, is_file: bool) -> Path:
    return work / "o" / ("way" * 100)


def a_loop(work: Path, is_file: bool) -> Path:
    (work / "way").symlink_to("way")
    return work / "way"


WAYS = [file_in_the_way, below_a_file, not_writable, a_pipe_in_the_way, too_long, a_loop]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("door", OUT)
def test_an_output_that_cannot_be_written(
    door: str, way: Callable[[Path, bool], Path], bench: Bench
) -> None:
    """One line before the work; what was in the way is as it was."""
    bench.good(BY_NAME[door])
    work = bench.work(BY_NAME[door])
    flag, is_file = OUT[door]
    path = way(work, is_file)
    if way is a_pipe_in_the_way and is_file:
        pytest.skip("a pipe is a place to write a file to")
    ended = bench.call(BY_NAME[door], work, flag, path)
    assert_refused(ended, "way", "/proc/hostile", str(work / "o"))
    for mine in (work / "o", work / "o/way", work / "o/way/mine"):
        if mine.is_file():
            assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("door", "out"),
    [
        ("predict-edge", "in/images"),
        ("gtlabel", "in/labels"),
        ("gtlabel-camvid", "in/camvid"),
        ("sbd_gtlabel", "in/sbd"),
        ("sbd_gtlabel", "in/sbd/."),
        ("gtlabel", "in/labels/../labels"),
        ("curves", "in/run/log.jsonl"),
    ],
)
@pytest.mark.parametrize("through_a_link", [False, True])
def test_outputs_never_replace_inputs(
    door: str, out: str, through_a_link: bool, bench: Bench
) -> None:
    """Refused, or written beside the inputs, which stay as they are."""
    bench.good(BY_NAME[door])
    work = bench.work(BY_NAME[door])
    target = work / out
    if through_a_link:
        (work / "link").symlink_to(target)
        target = work / "link"
    before = {path: path.read_bytes() for path in (work / "in").rglob("*") if path.is_file()}
    ended = Ended(*_call(bench, BY_NAME[door], work, OUT[door][0], target))
    assert all(path.read_bytes() == content for path, content in before.items())
    if ended.status:
        assert_refused(ended, str(target), str(target.resolve()), Path(out).name)
    else:
        again = Ended(*_call(bench, BY_NAME[door], work, OUT[door][0], target))
        assert all(path.read_bytes() == content for path, content in before.items())
        assert again.status in (0, 2)


def _call(bench: Bench, door: Door, work: Path, *more: object) -> tuple:
    """Without the check that nothing was made in `in/`."""
    from helpers.doors import enter

    bench.printed()
    ended = enter(door, work, *more, capture=bench.printed)
    assert "Traceback" not in ended.err
    return ended.status, ended.out, ended.err, None


def test_label_outputs_inside_the_labels_are_no_labels(bench: Bench) -> None:
    """A second run does not take the first one's results for label maps."""
    door = BY_NAME["gtlabel-id-map"]
    work = bench.work(door)
    lists = []
    for _ in range(2):
        status, _, err, _ = _call(bench, door, work, "--out", work / "in/labels/edges")
        if status:
            assert "labels" in err
            return
        lists.append((work / "in/labels/edges/edges.txt").read_text())
    assert lists[0] == lists[1]


# --- a disk that is full ---


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No byte can be written below out/, by anything."""

    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with mock.patch.object(Path, "write_bytes", full), mock.patch.object(Path, "write_text", full):
        yield


@pytest.mark.parametrize(
    "door",
    ["gtlabel", "gtlabel-camvid", "cityscapes_gtlabel", "kitti_gtlabel", "scenes", "predict-edge"],
)
@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_a_line_with_the_file(door: str, bench: Bench) -> None:
    work = bench.work(BY_NAME[door])
    ended = bench.call(BY_NAME[door], work)
    assert ended.status == 2
    assert ended.faults
    for line in ended.faults:
        assert "No space left on device" in line
        assert "/out/" in line
        assert ".part" not in line
