"""The scripts and entrances that read files: how each is called, and which file is of which sort.

A `Door` is called in a work folder with `in/`, which has to stay as it is, and `out/`. `make` fills
it with good input, once a session; `files` says which sorts of hostile input which file can be.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import scipy.io
import torch
from helpers import evaluation, exports, sbd
from helpers.compare import draw_edge_counts, write_edges
from helpers.folder import describe
from helpers.tiny_nets import EDGE, SEG, registered, save_tiny, tiny_contents
from helpers.training import Watcher

import hubconf
import predict
import train
from data import cityscapes_gtlabel, kitti_gtlabel, sbd_gtlabel
from data.camvid import CamVid
from data.download import __main__ as download
from data.edges import encode_png
from data.errors import run
from data.gtlabel import __main__ as gtlabel
from data.image_io import write_png
from data.importer import __main__ as importer
from data.scenes import __main__ as scenes
from utils.checkpoint import save_checkpoint
from utils.compare import __main__ as compare
from utils.curves import __main__ as curves
from utils.evaluation.segmentation import submission
from utils.prediction.video.reader import quiet_decoders
from utils.training import trainer

FOLDERS = {"train": ["train"], "val": ["val"]}
SECONDS = 20  # more is a hang
# Times and places of the inputs, and the flags.
OWN_NOTES = ("gtlabel-inputs.jsonl", "gtlabel.json", "import-inputs.jsonl", "import.json")


@dataclass(frozen=True)
class Door:
    """An entrance.

    name: of it.
    main: called with the flags; returns the status or raises.
    flags: with {w} for the work folder.
    make: fills the work folder with good input.
    files: (sort, file below the work folder) of its inputs.
    goes_on: the sorts with which the other files are done, and a line says which failed.
    searched: the sorts that are found by looking into a folder: what is no file is no input.
    slow: a training a call; of the inputs that are fine, only a few are tried.
    result: what is compared between calls; None: all files below out/.
    """

    name: str
    main: Callable[[list[str]], Any]
    flags: str
    make: Callable[[Path], None]
    files: tuple[tuple[str, str], ...]
    goes_on: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    slow: bool = False
    result: Callable[[Path], object] | None = None

    def argv(self, work: Path) -> list[str]:
        return [word.replace("{w}", str(work)) for word in self.flags.split()]


@dataclass(frozen=True)
class Ended:
    """How a call ended. seen: its result, if the status is 0."""

    status: int
    out: str
    err: str
    seen: object

    @property
    def faults(self) -> list[str]:
        """The lines that say what was wrong."""
        return [line for line in self.err.splitlines() if line.startswith(("error: ", "failed: "))]


class Hang(Exception):
    """A call took longer than SECONDS."""


@contextlib.contextmanager
def time_limit(work: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Raise Hang in the main thread; readers of named pipes in other threads are let go."""

    def stop(_number: int, _frame: object) -> None:
        for path in work.rglob("*"):
            if stat.S_ISFIFO(path.lstat().st_mode):
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def enter(
    door: Door,
    work: Path,
    *more: object,
    capture: Callable[[], tuple[str, str]] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Call the door in its work folder.

    Args:
        door: the entrance.
        work: its folder.
        more: flags after the door's own.
        capture: gives and forgets what was printed (`capfd`).
        seconds: more is a hang.
    """
    here = Path.cwd()
    environment = {"XDG_CACHE_HOME": str(work / "cache"), "HOME": str(work / "home")}
    (work / "cwd").mkdir(exist_ok=True)
    os.chdir(work / "cwd")
    try:
        with registered(), mock.patch.dict(os.environ, environment), time_limit(work, seconds):
            argv = [*door.argv(work), *map(str, more)]
            try:
                status = run(lambda: door.main(argv))
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
    finally:
        os.chdir(here)
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = capture() if capture else ("", "")
    seen = (door.result or outputs)(work) if status == 0 else None
    return Ended(status, out, err, seen)


def outputs(work: Path) -> dict[str, str]:
    """{path below out/: SHA-256 of the content}, without what differs between equal runs."""
    return {
        path.relative_to(work / "out").as_posix(): hashlib.sha256(
            path.read_bytes().replace(bytes(work), b"WORK")
        ).hexdigest()
        for path in sorted((work / "out").rglob("*"))
        if path.is_file()
        and path.suffix not in (".html", ".npz", ".zip")
        and path.name not in OWN_NOTES
    }


def snapshot(folder: Path) -> dict[str, tuple]:
    """Every entry below a folder: kind, permissions and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            content = path.read_bytes() if mode & 0o444 else None
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        found[str(path.relative_to(folder))] = (status.st_mode, content)
    return found


# --- good input ---

SIZE = (48, 64)


def blocks(rng: np.random.Generator, classes: int) -> np.ndarray:
    """uint8 (48, 64) in blocks of 8."""
    return np.kron(rng.integers(0, classes, (6, 8)), np.ones((8, 8), int)).astype(np.uint8)


def photo(rng: np.random.Generator) -> np.ndarray:
    """uint8 (48, 64, 3): smooth, so that a JPEG of it is small but not trivial."""
    return cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8), (0, 0), 2)


def fill_camvid(root: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> None:
    rng = np.random.default_rng(4)
    for split in splits:
        lines = []
        for number in range(4 if split == "train" else 2):
            name = f"{split}{number}.png"
            write_png(root / split / name, photo(rng))
            write_png(root / f"{split}annot" / name, blocks(rng, 12))
            lines.append(f"{split}/{name} {split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))


def make_folder(work: Path) -> None:
    """Anybody's own data: ids 0 to 11, of which 11 is none, in the splits' folders."""
    rng = np.random.default_rng(12)
    root = work / "in/own"
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            write_png(root / f"images/{split}/{split}{number}.png", photo(rng))
            write_png(root / f"labels/{split}/{split}{number}.png", blocks(rng, 12))
            objects = blocks(rng, 3).astype(np.uint16)
            write_png(root / f"instances/{split}/{split}{number}.png", objects)
    describe(root, [{"name": name} for name in CamVid.classes], none_ids=[11], splits=FOLDERS)
    for name, net in (("net", EDGE), ("seg", SEG)):
        contents = tiny_contents(net)
        contents["model"]["dataset"] = "folder"
        save_checkpoint(work / f"in/{name}.pth", contents)


def make_images(work: Path) -> None:
    rng = np.random.default_rng(5)
    for name in "abc":
        write_png(work / "in/images" / f"{name}.png", photo(rng))
    save_tiny(work / "in/net.pth")
    save_tiny(work / "in/seg.pth", SEG)


def make_clips(work: Path) -> None:
    """Three videos of three frames, as OpenCV writes them: the index is at the end."""
    rng = np.random.default_rng(6)
    (work / "in/clips").mkdir(parents=True)
    for name in "abc":
        path = work / "in/clips" / f"{name}.mp4"
        code = cv2.VideoWriter.fourcc(*"mp4v")
        with quiet_decoders():  # FFmpeg's own log is switched off at its first use
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, SIZE[::-1])
        for _ in range(3):
            writer.write(photo(rng))
        writer.release()
    save_tiny(work / "in/net.pth")


def make_camvid(work: Path) -> None:
    fill_camvid(work / "in/camvid")
    save_tiny(work / "in/net.pth")
    save_tiny(work / "in/seg.pth", SEG)


def edge_bits(rng: np.random.Generator, classes: int = 3) -> np.ndarray:
    """RGB of a 24-bit edge image: a few lines of each class."""
    edges = np.zeros(SIZE, np.uint32)
    for k in range(classes):
        row, column = rng.integers(4, 44), rng.integers(4, 60)
        edges[row, :] |= np.uint32(1 << k)
        edges[:, column] |= np.uint32(1 << k)
    return encode_png(edges)


def make_edge_files(work: Path) -> None:
    rng = np.random.default_rng(6)
    for name in "ab":
        truth = edge_bits(rng)
        for mode in ("thin", "raw"):
            write_png(work / f"in/labels/gt_{mode}/{name}.png", truth)
        write_png(work / f"in/bits/{name}.png", edge_bits(rng))
        scores = rng.random((3, *SIZE)).astype(np.float32)
        for k in range(3):
            path = work / f"in/prob/class_{k + 1:03d}/{name}.png"
            write_png(path, (scores[k] * 65535).astype(np.uint16))
        for kind in ("npy", "npz"):
            (work / f"in/{kind}").mkdir(parents=True, exist_ok=True)
        np.save(work / f"in/npy/{name}.npy", scores)
        np.savez(work / f"in/npz/{name}.npz", scores=scores)


def make_label_maps(work: Path) -> None:
    rng = np.random.default_rng(7)
    for name in "ab":
        write_png(work / f"in/labels/{name}.png", blocks(rng, 4))
        write_png(work / f"in/instances/{name}.png", blocks(rng, 3).astype(np.uint16))
        write_png(work / f"in/predictions/{name}.png", blocks(rng, 4))
    (work / "in/ids.json").write_text('{"0": 1, "1": 0,\n "2": 2, "3": 3}\n')
    (work / "in/names.txt").write_text("sky\nroad\ncar\ntree\n")


def make_coco(work: Path) -> None:
    rng = np.random.default_rng(7)
    for name in "ab":
        write_png(work / f"in/photos/{name}.png", photo(rng))
    height, width = photo(rng).shape[:2]
    objects = [exports.coco_object(k, [exports.box(k, 2, 20, 15 + k)], image=k) for k in (1, 2)]
    content = exports.coco(*objects, names=("a.png", "b.png"), width=width, height=height)
    exports.put_json(work / "in/coco.json", content)


def make_labelme(work: Path) -> None:
    rng = np.random.default_rng(7)
    for name in "ab":
        write_png(work / f"in/sheets/{name}.png", photo(rng))
        height, width = photo(rng).shape[:2]
        shape = exports.labelme_shape("dog", [[1, 2], [20, 15]], "rectangle")
        sheet = exports.labelme(shape, image=f"{name}.png", imageHeight=height, imageWidth=width)
        exports.put_json(work / f"in/sheets/{name}.json", sheet)


def make_start(work: Path) -> None:
    make_camvid(work)
    save_tiny(work / "in/start.pth")
    weights = torch.load(work / "in/start.pth", weights_only=True)["weights"]
    backbone = {key: value for key, value in weights.items() if key.startswith("backbone.")}
    torch.save(backbone, work / "in/backbone.pth")


def make_edge_label_run(work: Path) -> None:
    make_camvid(work)
    root = f"--dataset camvid --root {work}/in/camvid --out {work}/in/edges --split"
    with contextlib.redirect_stdout(io.StringIO()):
        for split in ("train", "val"):
            assert gtlabel.main(gtlabel.parse_args([*root.split(), split])) == 0


def make_run(work: Path) -> None:
    """A run that was killed in its second epoch."""
    make_camvid(work)

    def die(asked: int) -> None:
        if (work / "out/run/last.pth").exists():
            raise KeyboardInterrupt

    argv = BY_NAME["train-resume"].argv(work)
    with (
        registered(),
        mock.patch.object(train, "StopRequest", lambda: Watcher(die)),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(KeyboardInterrupt),
    ):
        train.main(train.parse_args(argv))
        raise AssertionError("the run was not interrupted")


def make_cityscapes(work: Path) -> None:
    rng = np.random.default_rng(8)
    root = work / "in/cityscapes"
    for split, name in (("train", "ulm_0_0"), ("val", "ulm_1_0"), ("val", "ulm_2_0")):
        ids = np.array([7, 8, 11, 26], np.uint8)[blocks(rng, 4)]
        instances = ids.astype(np.uint16)
        instances[ids == 26] = 26000
        stem = root / "gtFine" / split / "ulm" / f"{name}_gtFine"
        write_png(Path(f"{stem}_labelIds.png"), ids)
        write_png(Path(f"{stem}_instanceIds.png"), instances)
        write_png(root / "leftImg8bit" / split / "ulm" / f"{name}_leftImg8bit.png", photo(rng))
    corners = [[[4, 4], [40, 4], [40, 30], [4, 30]], [[0, 0], [63, 0], [63, 47], [0, 47]]]
    objects = [
        {"label": label, "polygon": corner}
        for label, corner in zip(("car", "road"), corners, strict=True)
    ]
    drawn = {"imgHeight": 48, "imgWidth": 64, "objects": objects[::-1]}
    path = root / "gtFine/val/ulm/ulm_3_0_gtFine_polygons.json"
    path.write_text(json.dumps(drawn))
    write_png(root / "leftImg8bit/val/ulm/ulm_3_0_leftImg8bit.png", photo(rng))


def make_submission(work: Path) -> None:
    rng = np.random.default_rng(8)
    for name in ("ulm_000000_000019", "ulm_000001_000019"):
        path = work / "in/cityscapes/leftImg8bit/test/ulm" / f"{name}_leftImg8bit.png"
        write_png(path, photo(rng))
    save_checkpoint(work / "in/seg.pth", tiny_contents(SEG, "cityscapes"))


def fill_kitti(root: Path) -> None:
    rng = np.random.default_rng(9)
    for name in ("000000_10", "000001_10"):
        ids = np.array([7, 8, 11, 26], np.uint8)[blocks(rng, 4)]
        coded = ids.astype(np.uint16) << 8
        coded[ids == 26] += 1
        write_png(root / f"training/semantic/{name}.png", ids)
        write_png(root / f"training/instance/{name}.png", coded)
        write_png(root / f"training/image_2/{name}.png", photo(rng))
        write_png(root / f"testing/image_2/{name}.png", photo(rng))


def make_kitti(work: Path) -> None:
    fill_kitti(work / "in/kitti")


def make_odometry(work: Path) -> None:
    rng = np.random.default_rng(10)
    for name in ("000000", "000001"):
        ids = np.array([7, 8, 11, 26], np.uint8)[blocks(rng, 4)]
        write_png(work / f"in/maps/03/{name}.png", ids)
        write_png(work / f"in/numbers/03/{name}.png", ids.astype(np.uint16) * 1000)
        write_png(work / f"in/odometry/sequences/03/image_2/{name}.png", photo(rng))


def make_archive(work: Path) -> None:
    """KITTI in a zip, in the place where a fetched one lies."""
    fill_kitti(work / "kitti")
    (work / "out/downloads").mkdir(parents=True)
    (work / "in").mkdir()
    with zipfile.ZipFile(work / "out/downloads/data_semantics.zip", "w") as archive:
        for path in sorted((work / "kitti").rglob("*.png")):
            archive.write(path, path.relative_to(work / "kitti"))
    shutil.rmtree(work / "kitti")


def make_sbd(work: Path) -> None:
    rng = np.random.default_rng(11)
    folder = work / "in/sbd"
    names = ["2008_000000", "2008_000001", "2008_000002"]
    for name in names:
        label = blocks(rng, 4)
        instance = label.copy()
        categories = np.array([[2], [5], [7]])
        classes = np.concatenate([[0], categories.ravel()])[label].astype(np.uint8)
        boundaries = [np.zeros(SIZE, bool) for _ in range(20)]
        for number in range(3):
            boundaries[int(categories[number, 0]) - 1][5 * number, 3:40] = True
        cls = {"Boundaries": sbd.cell(boundaries), "Segmentation": classes}
        inst = {
            "Boundaries": sbd.cell([boundaries[k[0] - 1] for k in categories]),
            "Segmentation": instance,
            "Categories": categories,
        }
        for kind, variable, content in (("cls", "GTcls", cls), ("inst", "GTinst", inst)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            scipy.io.savemat(folder / kind / f"{name}.mat", {variable: content})
        (folder / "img").mkdir(exist_ok=True)
        write_png(folder / "img" / f"{name}.png", photo(rng))
        (folder / "img" / f"{name}.png").rename(folder / "img" / f"{name}.jpg")
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names[:2]))
    (folder / "val.txt").write_text(f"{names[2]}\n")
    (work / "in/held_out.txt").write_text(f"{names[1]}\n")


def make_log(work: Path) -> None:
    lines = [{"kind": "start", "epoch": 0, "step": 0, "lr": 0.1}]
    for epoch in range(3):
        lines.append({"kind": "train", "epoch": epoch, "loss": 3.0 - epoch, "lr": 0.1})
        lines.append({"kind": "val", "epoch": epoch, "loss": 3.5 - epoch, "mf": 20.0 + epoch})
    (work / "in/run").mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (work / "in/run/log.jsonl").write_text(text)


def make_results(work: Path) -> None:
    for name, skill in (("a", 0.7), ("b", 0.8)):
        counts = draw_edge_counts(np.random.default_rng(0), skill, images=3, thresholds=3)
        write_edges(work / "in" / name, counts)


def make_nothing(work: Path) -> None:
    (work / "in").mkdir(parents=True)


# --- what is compared ---


def scores_of(work: Path) -> dict:
    """metrics.json without where the files lie."""
    metrics = json.loads((work / "out/metrics.json").read_text().replace(str(work), "WORK"))
    return {key: value for key, value in metrics.items() if key not in ("source", "origin")}


def imported(work: Path) -> dict[str, str]:
    """What the importer drew, and dataset.json; images are the user's own."""
    return {name: value for name, value in outputs(work).items() if "/images/" not in name}


def unpacked(work: Path) -> dict[str, str]:
    """The data set's own files."""
    return {name: value for name, value in outputs(work).items() if name.endswith(".png")}


def trained(work: Path) -> dict[str, object]:
    """The weights of last.pth, and the losses of the log."""
    state = torch.load(work / "out/run/last.pth", weights_only=True)
    lines = (work / "out/run/log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    kept = ("kind", "epoch", "loss", "mf", "miou")
    return {
        "weights": {key: value.tolist() for key, value in state["weights"].items()},
        "log": [
            {key: entry.get(key) for key in kept} for entry in entries if entry["kind"] != "start"
        ],
    }


def loaded(work: Path) -> object:
    return LOADED.pop() if LOADED else None


LOADED: list[object] = []


def load_and_predict(argv: list[str]) -> None:
    """The Python entrance: load a checkpoint, call it with an image."""
    from data.image_io import read_image

    checkpoint, image = argv[:2]
    predictor = hubconf.load(checkpoint, "cpu")
    LOADED[:] = [predictor(read_image(image)).tolist()]


def train_without_curves(argv: list[str]) -> int:
    """train.py but for curves.png, which takes most of half a second; train-resume draws it."""
    with mock.patch.object(trainer, "plot_curves"):
        return train.main(train.parse_args(argv))


def submit(argv: list[str]) -> None:
    """A test split of two images, which the server would not take."""
    with mock.patch.object(submission, "TEST_IMAGES", 2):
        evaluation.score(*argv)


def script(module: Any) -> Callable[[list[str]], Any]:
    return lambda argv: module.main(module.parse_args(argv))


# --- the doors ---

TRAIN = (
    "--dataset camvid --data-root {w}/in/camvid --backbone resnet18 --pretrained none "
    "--crop-size 32 --batch-size 4 --lr 0.01 --workers 0 --device cpu --epochs 1 "
    "--run-dir {w}/out/run "
)
TRAIN_EDGE = f"{TRAIN} --model {EDGE} --val-thresholds 3"
SCORE = "--out {w}/out --device cpu --workers 0 "
EDGE_FILES = f"--task edge --labels {{w}}/in/labels --thresholds 5 {SCORE}"
CAMVID_VAL = (
    ("data image", "in/camvid/val/val1.png"),
    ("label", "in/camvid/valannot/val0.png"),
    ("list", "in/camvid/val.txt"),
    ("columns", "in/camvid/val.txt"),
)
CAMVID_SAMPLE = (
    ("data image sample", "in/camvid/val/val1.png"),
    ("label sample", "in/camvid/valannot/val0.png"),
)
LABEL_MAPS = "--labels {w}/in/labels --num-classes 4 --out {w}/out"

DOORS = (
    Door(
        "predict-edge",
        script(predict),
        "{w}/in/images --checkpoint {w}/in/net.pth --out {w}/out --device cpu "
        "--vector geojson,svg,labelme",
        make_images,
        (
            ("image", "in/images/b.png"),
            ("checkpoint sample", "in/net.pth"),
            ("model sample", "in/net.pth"),
        ),
        goes_on=("image", "image sample"),
        searched=("image", "image sample"),
    ),
    Door(
        "predict-seg",
        script(predict),
        "{w}/in/images --checkpoint {w}/in/seg.pth --out {w}/out --device cpu",
        make_images,
        (("image sample", "in/images/b.png"), ("checkpoint sample", "in/seg.pth")),
        goes_on=("image sample",),
        searched=("image sample",),
    ),
    Door(
        "predict-upright",
        script(predict),
        "{w}/in/images --checkpoint {w}/in/net.pth --out {w}/out --device cpu --upright",
        make_images,
        (("photo", "in/images/b.png"),),
    ),
    Door(
        "predict-video",
        script(predict),
        "{w}/in/clips --checkpoint {w}/in/net.pth --out {w}/out --device cpu",
        make_clips,
        (("video", "in/clips/b.mp4"),),
        goes_on=("video",),
        searched=("video",),
    ),
    Door(
        "load",
        load_and_predict,
        "{w}/in/net.pth {w}/in/images/a.png",
        make_images,
        (("checkpoint", "in/net.pth"), ("model", "in/net.pth")),
        result=loaded,
    ),
    Door(
        "test-edge",
        lambda argv: evaluation.score(*argv),
        f"--checkpoint {{w}}/in/net.pth --data-root {{w}}/in/camvid --thresholds 3 {SCORE}",
        make_camvid,
        (*CAMVID_VAL, ("checkpoint", "in/net.pth"), ("model sample", "in/net.pth")),
        result=scores_of,
    ),
    Door(
        "test-folder",
        lambda argv: evaluation.score(*argv),
        f"--checkpoint {{w}}/in/net.pth --data-root {{w}}/in/own --thresholds 3 {SCORE}",
        make_folder,
        (
            ("dataset.json", "in/own/dataset.json"),
            ("data image sample", "in/own/images/val/val1.png"),
            ("any label", "in/own/labels/val/val0.png"),
            ("object map", "in/own/instances/val/val1.png"),
        ),
        searched=("data image sample",),
        result=scores_of,
    ),
    Door(
        "test-folder-seg",
        lambda argv: evaluation.score(*argv),
        f"--checkpoint {{w}}/in/seg.pth --data-root {{w}}/in/own {SCORE}",
        make_folder,
        (("any label sample", "in/own/labels/val/val0.png"),),
        result=scores_of,
    ),
    Door(
        "test-edge-classes",
        lambda argv: evaluation.score(*argv),
        f"--predictions {{w}}/in/prob {EDGE_FILES}",
        make_edge_files,
        (
            ("scores", "in/prob/class_002/a.png"),
            ("edges", "in/labels/gt_thin/b.png"),
            ("edges", "in/labels/gt_raw/a.png"),
        ),
        result=scores_of,
    ),
    Door(
        "test-edge-bits",
        lambda argv: evaluation.score(*argv),
        f"--predictions {{w}}/in/bits --num-classes 3 {EDGE_FILES}",
        make_edge_files,
        (("edges", "in/bits/a.png"),),
        result=scores_of,
    ),
    Door(
        "test-edge-npz",
        lambda argv: evaluation.score(*argv),
        f"--predictions {{w}}/in/npz {EDGE_FILES}",
        make_edge_files,
        (("npz", "in/npz/a.npz"),),
        result=scores_of,
    ),
    Door(
        "test-edge-npy",
        lambda argv: evaluation.score(*argv),
        f"--predictions {{w}}/in/npy {EDGE_FILES}",
        make_edge_files,
        (("array", "in/npy/a.npy"),),
        result=scores_of,
    ),
    Door(
        "test-seg",
        lambda argv: evaluation.score(*argv),
        f"--checkpoint {{w}}/in/seg.pth --data-root {{w}}/in/camvid {SCORE}",
        make_camvid,
        (*CAMVID_SAMPLE, ("checkpoint sample", "in/seg.pth")),
        result=scores_of,
    ),
    Door(
        "test-seg-files",
        lambda argv: evaluation.score(*argv),
        "--task seg --predictions {w}/in/predictions --labels {w}/in/labels --num-classes 4 "
        f"{SCORE}",
        make_label_maps,
        (("true label", "in/labels/a.png"), ("label", "in/predictions/b.png")),
        searched=("true label",),
        result=scores_of,
    ),
    Door(
        "submit",
        submit,
        "--checkpoint {w}/in/seg.pth --data-root {w}/in/cityscapes --submit {w}/out/result "
        "--device cpu",
        make_submission,
        (("lone image", "in/cityscapes/leftImg8bit/test/ulm/ulm_000000_000019_leftImg8bit.png"),),
        searched=("lone image",),
    ),
    Door(
        "train-edge",
        train_without_curves,
        TRAIN_EDGE,
        make_camvid,
        (
            ("data image", "in/camvid/train/train1.png"),
            ("label", "in/camvid/trainannot/train2.png"),
            ("list", "in/camvid/train.txt"),
            ("columns", "in/camvid/train.txt"),
        ),
        slow=True,
        result=trained,
    ),
    Door(
        "train-seg",
        train_without_curves,
        f"{TRAIN} --model {SEG} --class-uniform-tile 32",
        make_camvid,
        (
            ("data image sample", "in/camvid/train/train1.png"),
            ("label sample", "in/camvid/trainannot/train2.png"),
            ("label sample", "in/camvid/valannot/val1.png"),
        ),
        slow=True,
        result=trained,
    ),
    Door(
        "train-folder",
        train_without_curves,
        TRAIN_EDGE.replace("camvid", "folder", 1).replace("camvid", "own"),
        make_folder,
        (
            ("dataset.json sample", "in/own/dataset.json"),
            ("data image sample", "in/own/images/train/train1.png"),
            ("any label sample", "in/own/labels/train/train2.png"),
        ),
        searched=("data image sample",),
        slow=True,
        result=trained,
    ),
    Door(
        "train-init",
        train_without_curves,
        f"{TRAIN_EDGE} --init-from {{w}}/in/start.pth",
        make_start,
        (("checkpoint", "in/start.pth"),),
        slow=True,
        result=trained,
    ),
    Door(
        "train-pretrained",
        train_without_curves,
        f"{TRAIN_EDGE.replace('--pretrained none', '--pretrained {w}/in/backbone.pth')}",
        make_start,
        (("bare weights", "in/backbone.pth"),),
        slow=True,
        result=trained,
    ),
    Door(
        "train-labels",
        train_without_curves,
        f"{TRAIN_EDGE} --edge-labels {{w}}/in/edges",
        make_edge_label_run,
        (("training edges", "in/edges/trainannot/train1_edge.png"),),
        slow=True,
        result=trained,
    ),
    Door(
        "train-resume",
        script(train),
        f"{TRAIN_EDGE.replace('--epochs 1', '--epochs 2')}",
        make_run,
        (("state", "out/run/last.pth"),),
        slow=True,
        result=trained,
    ),
    Door(
        "gtlabel",
        script(gtlabel),
        f"{LABEL_MAPS} --instances {{w}}/in/instances --class-names {{w}}/in/names.txt --eval "
        "--visualize",
        make_label_maps,
        (
            ("label", "in/labels/a.png"),
            ("instance", "in/instances/b.png"),
            ("names", "in/names.txt"),
        ),
        goes_on=("label", "instance"),
        searched=("label", "polygons"),
    ),
    Door(
        "gtlabel-id-map",
        script(gtlabel),
        f"{LABEL_MAPS} --id-map {{w}}/in/ids.json",
        make_label_maps,
        (("id map", "in/ids.json"),),
    ),
    Door(
        "gtlabel-folder",
        script(gtlabel),
        "--dataset folder --root {w}/in/own --split val --out {w}/out",
        make_folder,
        (
            ("dataset.json sample", "in/own/dataset.json"),
            ("any label sample", "in/own/labels/val/val0.png"),
        ),
        goes_on=("any label sample",),
    ),
    Door(
        "gtlabel-camvid",
        script(gtlabel),
        "--dataset camvid --root {w}/in/camvid --split val --out {w}/out",
        make_camvid,
        (
            ("label", "in/camvid/valannot/val0.png"),
            ("list", "in/camvid/val.txt"),
            ("columns", "in/camvid/val.txt"),
        ),
        goes_on=("label",),
    ),
    Door(
        "cityscapes_gtlabel",
        script(cityscapes_gtlabel),
        "--root {w}/in/cityscapes --out {w}/out --eval",
        make_cityscapes,
        (
            ("label", "in/cityscapes/gtFine/val/ulm/ulm_1_0_gtFine_labelIds.png"),
            ("instance", "in/cityscapes/gtFine/val/ulm/ulm_1_0_gtFine_instanceIds.png"),
            ("polygons", "in/cityscapes/gtFine/val/ulm/ulm_3_0_gtFine_polygons.json"),
        ),
        goes_on=("label", "instance", "polygons"),
        searched=("label", "polygons"),
    ),
    Door(
        "kitti_gtlabel",
        script(kitti_gtlabel),
        "--root {w}/in/kitti --out {w}/out --eval",
        make_kitti,
        (
            ("label", "in/kitti/training/semantic/000001_10.png"),
            ("instance", "in/kitti/training/instance/000000_10.png"),
        ),
        goes_on=("label", "instance"),
        searched=("label", "polygons"),
    ),
    Door(
        "kitti-odometry",
        script(kitti_gtlabel),
        "--root {w}/in/odometry --odometry-labels {w}/in/maps --odometry-instances {w}/in/numbers "
        "--out {w}/out",
        make_odometry,
        (("label", "in/maps/03/000001.png"), ("instance", "in/numbers/03/000000.png")),
        goes_on=("label", "instance"),
        searched=("label", "polygons"),
    ),
    Door(
        "sbd_gtlabel",
        script(sbd_gtlabel),
        "--root {w}/in/sbd --val-list {w}/in/held_out.txt --out {w}/out --eval",
        make_sbd,
        (
            ("sbd image", "in/sbd/img/2008_000001.jpg"),
            ("mat cls", "in/sbd/cls/2008_000000.mat"),
            ("mat inst", "in/sbd/inst/2008_000001.mat"),
            ("list", "in/sbd/train.txt"),
            ("held out", "in/held_out.txt"),
        ),
        goes_on=("sbd image", "mat cls", "mat inst"),
    ),
    Door(
        "download",
        script(download),
        "kitti-semantics --out {w}/out/kitti --downloads {w}/out/downloads",
        make_archive,
        (("archive", "out/downloads/data_semantics.zip"),),
        result=unpacked,
    ),
    Door(
        "import-coco",
        script(importer),
        "coco {w}/in/coco.json --images {w}/in/photos --out {w}/out/mine --split train",
        make_coco,
        (("coco", "in/coco.json"), ("data image", "in/photos/b.png")),
        goes_on=("data image",),
        result=imported,
    ),
    Door(
        "import-labelme",
        script(importer),
        "labelme {w}/in/sheets --out {w}/out/mine --split train --no-upright",
        make_labelme,
        (("labelme", "in/sheets/b.json"), ("data image sample", "in/sheets/b.png")),
        goes_on=("labelme", "data image sample"),
        searched=("labelme",),
        result=imported,
    ),
    Door(
        "curves",
        script(curves),
        "{w}/in/run --out {w}/out/curves.png",
        make_log,
        (("log", "in/run/log.jsonl"),),
    ),
    Door(
        "compare",
        script(compare),
        "{w}/in/a {w}/in/b --samples 100 --out {w}/out/comparison",
        make_results,
        (),
    ),
    Door(
        "scenes",
        script(scenes),
        "--root {w}/out/scenes --train 1 --val 1 --test 1 --size 64x64",
        make_nothing,
        (),
    ),
)
BY_NAME = {door.name: door for door in DOORS}
# The module of a script, or what has its `parse_args`.
MODULES: dict[str, Any] = {
    "predict-edge": predict,
    "test-edge": SimpleNamespace(**evaluation.SCRIPT),
    "test-seg": SimpleNamespace(**evaluation.SCRIPT),
    "train-edge": train,
    "train-seg": train,
    "gtlabel": gtlabel,
    "cityscapes_gtlabel": cityscapes_gtlabel,
    "kitti_gtlabel": kitti_gtlabel,
    "sbd_gtlabel": sbd_gtlabel,
    "import-coco": importer,
    "download": download,
    "curves": curves,
    "compare": compare,
    "scenes": scenes,
}
