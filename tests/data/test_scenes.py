"""The drawn street scenes: the same bits everywhere, valid labels, a folder that is complete."""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data import build_dataset
from data.cityscapes import LABELS
from data.errors import InputError, run
from data.image_io import read_index
from data.scenes import __main__ as command
from data.scenes import dataset, layout, make, raster
from data.scenes.canvas import Canvas
from data.scenes.layout import draw_scene
from data.scenes.make import make_scenes
from data.scenes.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
SMALL = Plan(train=3, val=2, test=1, width=96, height=64)
# The same with OpenCV 4.10 and NumPy 2.0 as with OpenCV 5.0 and NumPy 2.4. Whoever changes the
# drawing on purpose changes it together with data.scenes.plan.VERSION.
DIGEST = "060a8dc31c47f705"
CALM_DIGEST = "a5bc0df59592d2eb"
CALM_CLASSES = {
    *("road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "car"),
}


def digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return [draw_scene(0, 0, index, 320, 160) for index in range(24)]


def test_scenes_are_the_same_bits_everywhere(drawn: list) -> None:
    assert digest(*(array for scene in drawn[:6] for array in scene)) == DIGEST


def test_scenes_do_not_depend_on_string_hashing() -> None:
    """Sets of strings have another order in every process; no random choice may depend on it."""
    code = (
        "import hashlib; from data.scenes.layout import draw_scene as draw; "
        "bits = b''.join(a.tobytes() for i in range(3) for a in draw(1, 2, i, 160, 80)); "
        "print(hashlib.sha256(bits).hexdigest())"
    )
    seen = set()
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(result.stdout)
    assert len(seen) == 1


def test_calm_scenes_are_the_same_bits_everywhere_of_the_common_classes(tmp_path: Path) -> None:
    scenes = [draw_scene(0, 0, index, 320, 160, quiet=True) for index in range(16)]
    assert digest(*(array for scene in scenes[:6] for array in scene)) == CALM_DIGEST
    labels = np.stack([label for _, label, _ in scenes])
    names = {label.name for label in LABELS if label.id in labels and label.train_id != 255}
    assert names == CALM_CLASSES
    # Few and large: cars alone, none of a few pixels.
    for _, _, instance in scenes:
        numbers, sizes = np.unique(instance, return_counts=True)
        cars = sizes[numbers // 1000 == 26]
        assert len(cars) <= 2 and (cars > 200).all()


def test_a_calm_set_is_another_set_than_one_of_the_same_numbers(tmp_path: Path) -> None:
    calm = replace(SMALL, calm=True)
    make_scenes(tmp_path / "calm", calm)
    make_scenes(tmp_path / "busy", SMALL)
    assert json.loads((tmp_path / "busy/scenes.json").read_text()) == STAMP  # as before calm ones
    assert json.loads((tmp_path / "calm/scenes.json").read_text()) == STAMP | {"calm": True}
    assert make_scenes(tmp_path / "calm", calm) == calm
    with pytest.raises(InputError, match="holds another set"):
        make_scenes(tmp_path / "calm", SMALL)
    assert len(build_dataset("scenes", tmp_path / "calm", "val")) == 2
    path = next((tmp_path / "calm/gtFine/test").rglob("*labelIds.png"))
    np.testing.assert_array_equal(read_index(path), draw_scene(0, 2, 0, 96, 64, quiet=True)[1])


def test_seed_split_and_index_each_change_the_scene() -> None:
    scenes_drawn = [
        digest(*draw_scene(*which, 96, 64))
        for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0))
    ]
    assert len(set(scenes_drawn)) == 4
    assert scenes_drawn[0] == scenes_drawn[4]


def test_ground_truth_is_valid(drawn: list) -> None:
    by_id = {label.id: label for label in LABELS}
    for image, label, instance in drawn:
        assert (image.shape, image.dtype) == ((160, 320, 3), np.uint8)
        assert (label.dtype, instance.dtype, label.shape, instance.shape) == (
            np.uint8,
            np.uint16,
            (160, 320),
            (160, 320),
        )
        np.testing.assert_array_equal(np.where(instance >= 1000, instance // 1000, instance), label)
        for number in np.unique(instance):
            assert number in by_id or by_id[number // 1000].has_instances
        assert (
            (label[:1] == 2).all()
            and (label[-1] == 3)[2:].all()
            and (label[-4, 100:200] == 1).all()
        )


def test_most_classes_and_touching_instances_occur_in_few_scenes(drawn: list) -> None:
    labels = np.stack([label for _, label, _ in drawn])
    trained = [label.id for label in LABELS if label.train_id != 255]
    assert len(set(np.unique(labels)) & set(trained)) == 19
    touching = 0
    for _, label, instance in drawn:
        left, right = instance[:, :-1], instance[:, 1:]
        touching += np.count_nonzero((left != right) & (label[:, :-1] == label[:, 1:]))
    assert touching > 24 * 20


def test_colour_alone_does_not_give_the_class_away(drawn: list) -> None:
    """The mean colours of cars spread wider than the mean colours of cars and houses lie apart."""

    def means(label_id: int) -> np.ndarray:
        return np.array(
            [p[ids == label_id].mean(axis=0) for p, ids, _ in drawn if np.sum(ids == label_id) > 50]
        )

    cars, houses = means(26), means(11)
    assert np.linalg.norm(cars.mean(axis=0) - houses.mean(axis=0)) < 2 * np.linalg.norm(
        cars.std(axis=0)
    )


def test_polygons_are_filled_as_a_plain_test_of_each_pixel_centre_says(
    rng: np.random.Generator,
) -> None:
    for _ in range(200):
        corners = rng.integers(-15, 45, (rng.integers(3, 9), 2))
        found = np.zeros((24, 30), np.int64)
        for v, first, end in raster.spans(corners, 24, 30):
            found[v, first:end] += 1
        np.testing.assert_array_equal(found, _inside(corners, 24, 30))


def _inside(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Even-odd rule with exact fractions, pixel by pixel: count what a ray crosses."""
    inside = np.zeros((height, width), np.int64)
    for v in range(height):
        for u in range(width):
            crossed = 0
            for (u0, v0), (u1, v1) in zip(
                corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True
            ):
                if (v0 <= v) != (v1 <= v):  # the edge passes the height v + 1/2
                    # u + 1/2 >= u0 + (v + 1/2 - v0) (u1 - u0) / (v1 - v0), times 2 (v1 - v0),
                    # whose sign turns the relation round
                    gap = (2 * u + 1 - 2 * u0) * (v1 - v0) - (2 * v + 1 - 2 * v0) * (u1 - u0)
                    crossed += gap >= 0 if v1 > v0 else gap <= 0
            inside[v, u] = crossed % 2
    return inside


def test_the_canvas_keeps_image_and_ground_truth_together() -> None:
    canvas = Canvas(8, 6, haze=(100, 100, 100))
    square = [(1, 1), (4, 1), (4, 4), (1, 4)]
    for expected in (26000, 26001):
        canvas.begin("car")
        canvas.fill(square, (10, 20, 30))
        assert canvas.instance[2, 2] == expected
    canvas.detail([(0, 0), (8, 0), (8, 6), (0, 6)], (50, 60, 70))
    assert canvas.label.tolist()[2] == [0, 26, 26, 26, 0, 0, 0, 0]
    assert (canvas.image == (50, 60, 70)).all()
    canvas.begin("person", group=True)
    canvas.mark(square)
    canvas.shade(square, 50)
    assert canvas.instance[1:4, 1:4].tolist() == [[24] * 3] * 3
    assert canvas.image[2, 2].tolist() == [25, 30, 35] and canvas.image[0, 0].tolist() == [
        50,
        60,
        70,
    ]


def test_a_set_is_made_on_first_use_and_then_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "make_scenes", lambda root: make_scenes(root, SMALL))
    root = tmp_path / "datasets/scenes"
    sizes = {
        split: len(build_dataset("scenes", root, split))
        for split in ("train", "val", "test", "trainval")
    }
    assert sizes == {"train": 3, "val": 2, "test": 1, "trainval": 5}
    monkeypatch.setattr(dataset, "make_scenes", lambda root: pytest.fail("drawn again"))
    both = build_dataset("scenes", root, "trainval")
    assert len({record.name for record in both.records}) == 5
    sample = both[4]
    image, _, instance = draw_scene(0, 1, 1, 96, 64)
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.instance, instance)
    assert sample.label.max() == 255
    assert both.num_classes == 19


def test_two_runs_write_the_same_files(tmp_path: Path) -> None:
    for name in "ab":
        make_scenes(tmp_path / name, SMALL)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert len(files_of(tmp_path / "a")) == 6 * 3 + 1
    assert make_scenes(tmp_path / "a", SMALL) == SMALL  # already there: nothing happens


def test_the_standard_set_is_200_50_20() -> None:
    standard = Plan()
    assert (standard.train, standard.val, standard.test, standard.width, standard.height) == (
        200,
        50,
        20,
        320,
        160,
    )


def test_an_interrupted_run_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    killed = tmp_path / ".set.1.part"  # what a killed process leaves
    killed.mkdir()
    (killed / "half.png").write_bytes(b"half")

    def fails_at_the_second(
        seed: int, split: int, index: int, width: int, height: int, **_: bool
    ) -> tuple:
        if (split, index) == (0, 1):
            raise OSError("disk full")
        return draw_scene(seed, split, index, width, height)

    with monkeypatch.context() as patch:
        patch.setattr(layout, "draw_scene", fails_at_the_second)
        with pytest.raises(OSError, match="disk full"):
            make_scenes(root, SMALL)
    assert not root.exists()
    make_scenes(root, SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.lock", "set"]
    assert len(build_dataset("scenes", root, "train")) == 3


def _make(root: Path, queue: multiprocessing.Queue) -> None:
    make_scenes(root, SMALL)
    queue.put(sorted(files_of(root)))


def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    # Daemonic, as data loader workers are: such a process may start no processes of its own.
    processes = [
        context.Process(target=_make, args=(tmp_path / "set", queue), daemon=True) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert found[0] == found[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.lock", "set"]


def test_a_set_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "thesis.txt").write_text("years of work")
    for call in (
        lambda: build_dataset("scenes", root, "train"),
        lambda: make_scenes(root, SMALL, overwrite=True),
    ):
        with pytest.raises(InputError, match=r"holds no scenes.json, .*choose another folder"):
            call()
    assert (root / "thesis.txt").read_text() == "years of work"


def test_other_versions_and_plans_are_refused_or_replaced(tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_scenes(root, SMALL)
    other = Plan(seed=7, train=1, val=1, test=1, width=96, height=64)
    with pytest.raises(InputError, match=r"holds another set .*seed=0.*--overwrite"):
        make_scenes(root, other)
    stamp = json.loads((root / "scenes.json").read_text())
    (root / "scenes.json").write_text(json.dumps(stamp | {"version": 0}))
    with pytest.raises(
        InputError,
        match=r"was drawn by version 0 of the scenes, this is version \d+; .*--overwrite",
    ):
        build_dataset("scenes", root, "val")
    make_scenes(root, other, overwrite=True)
    assert [record.name for record in build_dataset("scenes", root, "val").records] == [
        "oakstreet_000007_000000"
    ]


def test_a_set_with_images_gone_is_named(tmp_path: Path) -> None:
    make_scenes(tmp_path / "set", SMALL)
    for path in (tmp_path / "set").rglob("elmstreet_000000_000001*"):
        path.unlink()
    with pytest.raises(
        InputError,
        match=r"found 2 images of split 'train', but scenes.json says 3; draw it again with",
    ):
        build_dataset("scenes", tmp_path / "set", "train")


def test_an_unknown_split_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="scenes has no split 'all'; expected one of train, val, test, trainval"
    ):
        build_dataset("scenes", tmp_path / "set", "all")
    assert not (tmp_path / "set").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = [
        "--root",
        str(tmp_path / "set"),
        "--seed",
        "3",
        "--train",
        "1",
        "--val",
        "0",
        "--test",
        "1",
        "--size",
        "96x64",
    ]
    command.main(command.parse_args(flags))
    assert "1 train, 0 val, 1 test images of 96x64, seed 3" in capsys.readouterr().out
    path = tmp_path / "set/gtFine/test/ashstreet/ashstreet_000003_000000_gtFine_labelIds.png"
    np.testing.assert_array_equal(read_index(path), draw_scene(3, 2, 0, 96, 64)[1])
    with pytest.raises(InputError, match="must not be negative, nor all be 0"):
        command.main(command.parse_args([*flags, "--train", "0", "--test", "0"]))
    with pytest.raises(InputError, match=r"sides of 64..4096; found 10x64"):
        command.main(command.parse_args([*flags, "--size", "10x64"]))
    with pytest.raises(SystemExit):
        command.parse_args(["--size", "big"])
    assert "found 'big', expected WIDTHxHEIGHT" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--seed", "--train", "--val", "--test", "--size"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e308", "text", "10" * 7, "9" * 5000, ""])
def test_numbers_of_the_command(flag: str, value: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parse_args([f"{flag}={value}"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {flag}: found" in error and error.count("\n") == 1 and len(error) < 250


STAMP = {"seed": 0, "train": 3, "val": 2, "test": 1, "width": 96, "height": 64, "version": 1}


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("{", "is no JSON"),
        ("[1]", "does not say the version"),
        ("{}", "does not say the version"),
        (json.dumps(STAMP | {"version": True}), "does not say the version"),
        (json.dumps(STAMP | {"version": "1"}), "does not say the version"),
        (json.dumps(STAMP | {"train": "3"}), "train of a plan must be a whole number; found a str"),
        (json.dumps(STAMP | {"train": 1.5}), "found a float"),
        (json.dumps(STAMP | {"train": True}), "found a bool"),
        (json.dumps(STAMP | {"train": -1}), "must not be negative"),
        (json.dumps(STAMP | {"train": 10**12}), "the numbers of images 100000"),
        (json.dumps(STAMP | {"seed": 10**12}), "the seed may be 4294967295 at most"),
        (json.dumps(STAMP | {"width": 10**12}), "sides of 64..4096"),
        (json.dumps(STAMP | {"calm": 1}), "calm of a plan must be true or false; found 1"),
        (json.dumps(STAMP | {"other": 1}), "found seed, .*, other; expected"),
        ('{"version": NaN}', "NaN is no number of JSON"),
        ('{"version": 1}', "found version; expected"),
        ("\udcff", "is not UTF-8"),
    ],
    ids=lambda value: value[:30],
)
def test_stamps_that_are_none(stamp: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "scenes.json").write_bytes(stamp.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"holds no readable scenes.json .*{words}") as caught:
        build_dataset("scenes", tmp_path, "val")
    assert "delete" not in str(caught.value)


def test_a_folder_of_something_else_is_neither_drawn_into_nor_beside(tmp_path: Path) -> None:
    """Nor is it advised to delete it: `train.py --data-root MY_IMAGES` comes here."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat.jpg").write_bytes(b"x")
    for call in (
        lambda: build_dataset("scenes", images, "train"),
        lambda: make_scenes(images, SMALL),
        lambda: make_scenes(images, SMALL, overwrite=True),
        lambda: make_scenes("/", SMALL, overwrite=True),
    ):
        with pytest.raises(InputError, match=r"--data-root needs --dataset; for your own") as error:
            call()
        assert "delete" not in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cat.jpg", "images"]


def test_overwrite_deletes_nothing_that_was_not_drawn(tmp_path: Path) -> None:
    make_scenes(tmp_path / "set", SMALL)
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds notes\.txt, which --overwrite would delete"):
        make_scenes(tmp_path / "set", SMALL, overwrite=True)
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"
    assert make_scenes(tmp_path / "set", SMALL) == SMALL


def test_overwrite_deletes_no_file_deep_in_the_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_scenes(root, SMALL)
    (root / "gtFine/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds gtFine/notes\.txt"):
        make_scenes(root, SMALL, overwrite=True)
    assert (root / "gtFine/notes.txt").read_text() == "mine"


def test_a_set_with_files_gone_is_not_called_complete(tmp_path: Path) -> None:
    root = tmp_path / "set"
    make_scenes(root, SMALL)
    next(root.rglob("*_labelIds.png")).unlink()
    with pytest.raises(InputError, match=r"1 of \d+ files of the set are missing.*--overwrite"):
        make_scenes(root, SMALL)


def test_only_leftovers_of_ours_are_removed(tmp_path: Path) -> None:
    names = [".se[t].12.part", ".se[t].mine.part", ".set.1.part"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / ".se[t].13.part").write_text("a file")
    make_scenes(tmp_path / "se[t]", SMALL)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([".se[t].13.part", ".se[t].lock", *names[1:], "se[t]"])


def test_the_current_folder_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is the current folder or a mount point"):
        make_scenes(".", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_space_is_asked_before_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "draw_scene", lambda *_, **__: pytest.fail("drawn"))
    free = SMALL.width * SMALL.height
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    with pytest.raises(InputError, match=r"a set of 6 images needs .* GB, and .* GB are free"):
        make_scenes(tmp_path / "set", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_permission_is_asked_before_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def denied(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "tmp123")

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    flags = ["--root", str(tmp_path / "set"), "--train", "1"]
    assert run(lambda: command.main(command.parse_args(flags))) == 2
    said = f"{tmp_path}: cannot be written to (Permission denied); give another folder"
    assert capsys.readouterr().err == f"error: --root {said}\n"


@pytest.mark.parametrize("why", ["windows", "file system"])
def test_without_locks_a_set_is_drawn_all_the_same(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what another process may be drawing is left alone."""
    if why == "windows":
        monkeypatch.setattr(make, "fcntl", None)
    else:

        def refused(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refused)
    (tmp_path / ".set.1.part").mkdir()
    make_scenes(tmp_path / "set", SMALL)
    assert (tmp_path / ".set.1.part").is_dir()
    assert len(build_dataset("scenes", tmp_path / "set", "train")) == 3


def test_a_signal_ends_the_drawing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    drawn = []

    def slow(*_: object, **__: object) -> tuple:
        drawn.append(1)
        if len(drawn) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)
        return draw_scene(0, 0, 0, 64, 64)

    monkeypatch.setattr(layout, "draw_scene", slow)
    plan = Plan(train=1000, width=64, height=64)
    assert run(lambda: make_scenes(tmp_path / "set", plan) and None) == 143
    assert len(drawn) < 100
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]
    assert capsys.readouterr().err.splitlines()[-1] == "terminated"


def test_the_command_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "data.scenes", "--root", str(tmp_path / "file")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
