"""Every shell and Python block of README and docs, run at a tiny size; every path that they name.

A command runs in a folder laid out as the documents say, with flags added that make it small. What
it reads must be there: drawn beforehand, or written by another documented command, which is then
run first. So each case can also be run alone.
"""

import argparse
import contextlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.document_exports import write_exports
from helpers.documents import (
    DOCUMENTS,
    ROOT,
    Block,
    all_blocks,
    blocks,
    mentioned_paths,
    reads,
    writes,
)
from helpers.kitti import draw_frame
from helpers.sbd import NAME, OTHER, TESTED, write_ground_truth

from data.image_io import write_png
from data.scenes.dataset import Plan, make_scenes

BLOCKS = all_blocks()
# Commands that are not run, by a part of them. That their scripts take their flags is tested.
NOT_RUN = {
    "make demo": "takes minutes; its commands are run one by one",
    "make test": "would run this test",
    "make test-fast": "would run this test",
    "make lint": "is .ci/run's other half",
    "sbatch ": "needs Slurm; tests/scripts/test_slurm.py runs the script",
    "torchrun --nnodes": "needs two machines",
    "torchrun --nproc-per-node 8": "needs eight GPUs; the cases with two ranks are run",
    "python -m data.download camvid": "downloads",
    "python -m data.download sbd": "downloads",
    "python -m data.download kitti-semantics": "downloads",
    "--submit": "needs Cityscapes' 1525 test images; tests/utils/test_submission.py runs it",
    "dff_r101_cityscapes.pth.tar": "a published file of half a gigabyte",
    "tests/benchmarks/gtlabel.py": "measures for minutes",
    "tests/benchmarks/edge_eval.py": "measures, and needs recorded predictions",
    "tests/benchmarks/seg_eval.py": "measures for minutes",
    "tests/benchmarks/loader.py": "measures for minutes, full-size images",
    "tests/benchmarks/train_step.py": "measures for minutes",
    "tests/benchmarks/inference.py": "measures for minutes; tests/utils/test_benchmark.py runs it",
    "tests/benchmarks/folded_scores.py": "needs trained nets",
    "tests/benchmarks/comparison.py": "trains for two hours",
}
# Stand-ins for files that a reader has from elsewhere -> what the documents' own commands make.
STAND_INS = {"best.pth": "runs/camvid/dff-resnet18/default/best.pth"}
# Files that runs leave, as the prose names them; a test looks whether they do.
LEFT_BY_RUNS = {
    *("last.pth", "best.pth", "args.json", "log.jsonl", "curves.png"),
    *("metrics.json", "scores.csv", "curves.csv", "counts.npz", "confusion.csv", "report.html"),
    *("compare.csv", "compare.json", "compare.html"),
}
# Left by more than a tiny run, which other tests look for: a second epoch, --profile; labels.
LEFT_BY_OTHERS = {
    *("previous.pth", "trace.json", "gtlabel.json", "gtlabel-inputs.jsonl", "diverged.json"),
    *("dataset.json", "import.json", "import-inputs.jsonl", "temperature.json"),
}
# Names that the prose uses for a layout or an example and that are no file of ours.
EXAMPLES = {
    *("train.txt", "val.txt", "test.txt", "config_v1.2.json", "config_v2.0.json"),
    *("img/", "cls/", "inst/", "train/", "trainannot/", "class_001/NAME.png", "NAME.npz"),
    *("demo/", "datasets/", "drawn-all/index.html", "index.html", "NAME_edges.png"),
    *("OUT/07/image_2/", "OUT/sequences/", "ROOT/sequences", "ROOT/sequences/07/image_2"),
    *("bits/clip/000001.png", "vector/NAME.geojson"),
    *("OUT/hard", "OUT/soft", "OUT/seg", "OUT/edge", "OUT/max-dist-0.02", "OUT/max-dist-3px"),
    "NAME_edges_overlay.png",
}
TINY = {
    "train.py": "--backbone resnet18 --pretrained none --epochs 1 --batch-size 2 --base-size 0 "
    "--workers 0 --val-samples 1 --device cpu",
    "test.py": "--workers 0 --device cpu --pictures 1",
    "predict.py": "--device cpu",
    "data.cityscapes_gtlabel": "--workers 1",
    "data.sbd_gtlabel": "--workers 1 --val-list held_out.txt",
    "data.scenes": "--train 4 --val 2 --test 2 --size 96x64 --overwrite",
}
SMALL_IMAGES = 6  # of a folder of images, which three splits share


class Parsed(BaseException):
    """Raised in place of what a command would do, once it has accepted its flags.

    No Exception: `data.errors.run` reports those.
    """


class World:
    """The folder in which commands run, and what has been run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: set[str] = set()

    def ensure(self, path: str) -> None:
        """Run the documented commands that write `path`, unless it is there."""
        for block in BLOCKS:
            if (self.root / path).exists():
                return
            if not reason_not_to_run(block) and any(
                Path(path).is_relative_to(made) for made in made_by(block)
            ):
                self.run(block)
        if path in STAND_INS:
            self.ensure(STAND_INS[path])
            (self.root / path).symlink_to(self.root / STAND_INS[path])
        assert (self.root / path).exists(), (
            f"{path}: no such file, and no documented command makes it"
        )

    def run(self, block: Block) -> None:
        """Run a block with what it needs; the same command is run once."""
        if block.text in self.done:
            return
        for path in reads(block):
            self.ensure(path)
        with contextlib.chdir(self.root):
            if block.python:
                exec(compile(block.text, block.name, "exec"), {"__name__": "documented"})
            elif block.words[0] == "torchrun":
                run_ranks(tiny(block))
            else:
                status = run_here(tiny(block))
                assert status in (0, None), f"{block.text}: exit status {status}"
        self.done.add(block.text)


@cache
def made_by(block: Block) -> tuple[str, ...]:
    return tuple(writes(block))


def reason_not_to_run(block: Block) -> str | None:
    """Why a command is only checked; a target of make must be named whole."""
    if block.python:
        return None
    if block.text.startswith("make "):
        return NOT_RUN[block.text]
    return next((NOT_RUN[part] for part in NOT_RUN if part in block.text), None)


def tiny(block: Block) -> list[str]:
    """The words of a command with flags that make it small; the last of two equal flags counts."""
    words = block.words
    script = next((word for word in words if word in TINY), None)
    if script is None:
        return words
    seg = any(word.startswith("deeplabv3plus") or word == "seg" for word in words)
    seg |= any("/deeplabv3plus" in word for word in words)
    extra = TINY[script]
    if script == "train.py":
        extra += " --crop-size 64" if seg else " --crop-size 32 --val-thresholds 3"
        extra += f" --run-dir {made_by(block)[0]}"  # of the documented backbone
    elif script == "test.py" and not seg:
        extra += " --thresholds 3"
    return [*words, *extra.split()]


def run_here(words: list[str]) -> int | str | None:
    """`python SCRIPT …` or `python -m MODULE …`, in this process: importing torch takes seconds."""
    assert words[0] == "python", words
    module = words[1] == "-m"
    name, argv = (words[2], words[3:]) if module else (words[1], words[2:])
    before, sys.argv = sys.argv, [name, *argv]
    try:
        if module:
            # runpy warns of a module that has been imported; of a package it runs __main__.
            package = (ROOT / name.replace(".", "/")).is_dir()
            sys.modules.pop(f"{name}.__main__" if package else name, None)
            runpy.run_module(name, run_name="__main__", alter_sys=False)
        else:
            runpy.run_path(name, run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
    return None


def run_ranks(words: list[str]) -> None:
    """`torchrun --nproc-per-node 2 …`, in processes of their own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_camvid: Path, sbd_golden: dict) -> World:
    """The scripts, and the data and files that the documents suppose."""
    place = tmp_path_factory.mktemp("documents")
    for name in ("train.py", "test.py", "predict.py", "data", "models", "utils", "tests", "slurm"):
        (place / name).symlink_to(ROOT / name)
    (place / "path" / "to").mkdir(parents=True)
    (place / "path" / "to" / "repository").symlink_to(ROOT)
    datasets = place / "datasets"
    for name in ("scenes", "cityscapes"):
        make_scenes(datasets / name, Plan(0, 4, 2, 2, 96, 64))
    shutil.copytree(tiny_camvid, datasets / "CamVid")
    draw_kitti(datasets / "kitti" / "training")
    draw_sbd(datasets / "sbd", sbd_golden)
    (place / "held_out.txt").write_text(f"{OTHER}\n")
    (place / "photos").mkdir()
    cv2.imwrite(str(place / "street.jpg"), cv2.imread(str(tiny_camvid / "test" / "test_000.png")))
    for path in sorted((tiny_camvid / "train").iterdir())[:SMALL_IMAGES]:
        shutil.copy(path, place / "photos")
    write_clip(place / "clip.mp4")
    write_exports(place, place / "photos")
    label = np.random.default_rng(0).integers(0, 3, (48, 64)).astype(np.uint8) * 9
    write_png(place / "my" / "labels" / "one.png", label)
    (place / "ids.json").write_text('{"0": 0, "9": 4, "18": 255}')
    return World(place)


def write_clip(path: Path) -> None:
    """A video of three frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
    for grey in (0, 100, 200):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()


def draw_kitti(folder: Path) -> None:
    label, coded = draw_frame()
    for number in range(200):
        name = f"{number:06d}_10.png"
        write_png(folder / "image_2" / name, np.zeros((*label.shape, 3), np.uint8))
        write_png(folder / "semantic" / name, label)
        write_png(folder / "instance" / name, coded)


def draw_sbd(folder: Path, golden: dict) -> None:
    (folder / "img").mkdir(parents=True)
    for name in (NAME, OTHER, TESTED):
        write_ground_truth(folder, name, golden)
        cv2.imwrite(str(folder / "img" / f"{name}.jpg"), np.zeros((371, 500, 3), np.uint8))
    (folder / "train.txt").write_text(f"{NAME}\n{OTHER}\n")
    (folder / "val.txt").write_text(f"{TESTED}\n")


@pytest.fixture
def only_parsing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands end as soon as argparse has accepted their flags."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self: argparse.ArgumentParser, *args: object) -> None:
        parse(self, *args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    yield


def own_files() -> list[Path]:
    """The repository's files, without a virtual environment or data sets that lie in its folder."""
    rooms = ("models", "data", "utils", "tests", "docs", "slurm")
    return [*ROOT.glob("*.*"), *(path for room in rooms for path in (ROOT / room).rglob("*.*"))]


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def case(block: Block) -> object:
    return pytest.param(block, id=f"{block.name} {'python' if block.python else block.text[:60]}")


@pytest.mark.slow
@pytest.mark.parametrize("block", [case(b) for b in BLOCKS if not reason_not_to_run(b)])
def test_a_documented_command_works(block: Block, world: World) -> None:
    world.run(block)


@pytest.mark.parametrize("block", [case(b) for b in BLOCKS if reason_not_to_run(b)])
def test_a_command_that_is_not_run_would_be_accepted(
    block: Block, only_parsing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its script exists and takes its flags."""
    monkeypatch.chdir(ROOT)
    words = block.words
    if words[0] == "make":
        assert set(words[1:]) <= make_targets()
        return
    if words[0] == "sbatch":
        script = next(place for place, word in enumerate(words) if word.endswith(".sbatch"))
        assert (ROOT / words[script]).is_file()
        words = ["python", "train.py", *words[script + 1 :]]
    elif words[0] == "torchrun":
        words = ["python", *words[next(i for i, word in enumerate(words) if word in TINY) :]]
    with pytest.raises(Parsed):
        run_here(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_that_a_document_names_exist(document: Path) -> None:
    """In the repository, in what is drawn for the commands, or made by a documented command."""
    made = {path for block in BLOCKS for path in (*made_by(block), *reads(block))}
    made |= {str(parent) for path in made for parent in Path(path).parents}
    names = {path.name for path in own_files()}
    wrong = [
        path
        for path in sorted(mentioned_paths(document))
        if not (ROOT / path).exists()
        and path not in names
        and path.rstrip("/") not in made
        and path not in LEFT_BY_RUNS | LEFT_BY_OTHERS | EXAMPLES
    ]
    assert not wrong, f"{document.name} names {wrong}, which no folder has and no command makes"
    prose = re.findall(r"`make ([\w-]+)`", document.read_text(encoding="utf-8"))
    assert set(prose) <= make_targets(), document.name


def test_flags_that_a_document_names_exist() -> None:
    """Every `--flag` of the prose is one of some command; those of blocks are run or parsed."""
    code = [path.read_text(encoding="utf-8") for path in own_files() if path.suffix == ".py"]
    text = "\n".join(code)
    known = set(re.findall(r'"(--[a-z][a-z0-9-]*)"', text))
    known |= {flag.replace("--", "--no-", 1) for flag in known} | {"--help"}
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
        named = {
            flag
            for span in re.findall(r"`([^`\n]+)`", prose)
            if not span.startswith(("pip ", "ruff "))
            for flag in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", span)
        }
        assert named <= known, f"{document.name}: {sorted(named - known)}"


def test_every_reason_is_needed() -> None:
    """No entry of NOT_RUN outlives its command."""
    used = {part for block in BLOCKS for part in NOT_RUN if part in block.text}
    assert used == NOT_RUN.keys()


def test_runs_leave_the_files_that_the_documents_name(world: World) -> None:
    if len(world.done) < len({b.text for b in BLOCKS if not reason_not_to_run(b)}):
        pytest.skip("needs all commands of this file to have been run")
    left = {path.name for path in world.root.rglob("*") if "repository" not in path.parts}
    assert left >= LEFT_BY_RUNS


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    assert len(blocks(ROOT / "README.md")) >= 9


def test_documents_refer_to_what_a_reader_has() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert "../shared" not in text, document.name
        assert "@" not in re.sub(r"\S+@\S+\.\S+", "", text), f"{document.name}: a placeholder"


def test_the_formatter_has_one_version() -> None:
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    hook = re.search(r"^    rev: v(\S+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.M)
    assert pinned and hook and pinned[1] == hook[1]
