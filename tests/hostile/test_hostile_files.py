"""Every door with every hostile file of the sorts that it reads: a table of both, multiplied.

A case is a line in `helpers.hostile`, a door one declaration in `helpers.doors`. What a door
does otherwise than the table says stands in `OTHERWISE`, with the reason.
"""

import json
from pathlib import Path

import pytest
from helpers import hostile as sorts
from helpers import hostile_checkpoints as checkpoints
from helpers.bench import Bench, assert_refused
from helpers.doors import BY_NAME, DOORS, Door, outputs
from helpers.hostile import Case

SORTS: dict[str, tuple[Case, ...]] = {
    "image": sorts.PREDICT_IMAGE,
    "photo": sorts.EXIF_TURNED,
    "video": sorts.FILE,
    "data image": sorts.DATA_IMAGE,
    "lone image": sorts.IMAGE,
    "label": sorts.LABEL,
    "true label": sorts.LABEL,
    "instance": sorts.INSTANCE,
    "edges": sorts.EDGES,
    "training edges": sorts.TRAINING_EDGES,
    "scores": sorts.SCORES,
    "array": sorts.ARRAY,
    "npz": sorts.NPZ,
    "list": sorts.LIST,
    "held out": sorts.HELD_OUT,
    "columns": sorts.COLUMNS,
    "names": sorts.NAMES,
    "id map": sorts.ID_MAP,
    "dataset.json": sorts.DATASET_JSON,
    "log": sorts.LOG,
    "checkpoint": checkpoints.CHECKPOINT_FILE,
    "archive": sorts.ARCHIVE,
    "mat cls": sorts.MAT,
    "mat inst": sorts.MAT,
    "sbd image": sorts.IMAGE,
    "polygons": sorts.POLYGONS,
    "coco": sorts.COCO,
    "labelme": sorts.LABELME,
    "model": checkpoints.CHECKPOINT_MODEL,
    # Of what another door of the table tries whole, through the same reader.
    "image sample": sorts.PREDICT_IMAGE[::3],
    "data image sample": sorts.DATA_IMAGE[::3],
    "label sample": sorts.LABEL[::3],
    "any label": sorts.MAP,
    "any label sample": sorts.MAP[::3],
    "object map": sorts.INSTANCE,
    "dataset.json sample": sorts.DATASET_JSON[::4],
    "checkpoint sample": checkpoints.CHECKPOINT_FILE[::4],
    "model sample": checkpoints.CHECKPOINT_MODEL[::7],
}
# Of the inputs that are fine, those that slow doors are tried with.
FEW = (
    *("behind a link", "with a palette", "RGBA", "JPEG", "EXIF orientation 6", "2 bits"),
    *("bytes after the end", "_orig_mod.module.", "float64", "the old format", "byte-order mark"),
)
OTHERWISE: dict[tuple[str, str, str], Case | None] = {}


# What is not there when a folder is searched; see test_hostile_names.py.
NO_FILE = ("missing", "folder", "named pipe", "broken link", "link loop")


def left_out(door: Door, sort: str, case: Case) -> bool:
    if sort in door.searched and case.name in NO_FILE:
        return True
    return door.slow and case.ok and case.name not in FEW


def cases() -> list:
    found = []
    for door in DOORS:
        for sort, file in door.files:
            for case in SORTS.get(sort, ()):
                case = OTHERWISE.get((door.name, sort, case.name), case)
                if case is not None and not left_out(door, sort, case):
                    name = f"{door.name}-{Path(file).name}-{case.name}"
                    found.append(pytest.param(door, sort, file, case, id=name))
    return found


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_good_input_gives_the_same_result_twice(door: Door, bench: Bench) -> None:
    first = bench.good(door)
    again = bench.call(door, bench.work(door))
    assert again.status == 0
    assert again.seen == first.seen
    assert first.seen


@pytest.mark.parametrize(("door", "sort", "file", "case"), cases())
def test_a_hostile_file(door: Door, sort: str, file: str, case: Case, bench: Bench) -> None:
    good = bench.good(door)
    expected = bench.good(door, file, case.twin, case.name).seen if case.twin else good.seen
    work = bench.work(door)
    case.damage(work / file)
    ended = bench.call(door, work)
    if case.ok:
        assert ended.status == 0, ended.err
        assert ended.seen == expected
        return
    stem = Path(file).stem.split("_gtFine")[0]
    line = assert_refused(ended, stem, *([case.culprit] if case.culprit else []), says=case.says)
    if line.startswith("error: "):
        # A mistake that is seen in all files is refused before the work.
        assert sort not in door.goes_on or case.name in NO_FILE
        assert not list((work / "out").rglob("*.png"))
    elif sort in door.goes_on and (door.name, case.name[:3]) != ("gtlabel", "id "):
        # With ids out of range, data.gtlabel makes nothing: a wrong --num-classes has them in all.
        assert_others_done(bench.before[door.name], outputs(work), stem)


def assert_others_done(good: dict[str, str], found: dict[str, str], stem: str) -> None:
    """But for the lists, in which what failed is left out."""
    others = {
        name: value
        for name, value in good.items()
        if stem not in name and not name.endswith(".txt")
    }
    wrong = {name for name, value in others.items() if found.get(name) != value}
    assert not wrong, f"not made, or otherwise: {sorted(wrong)}"


@pytest.mark.parametrize("case", sorts.LOG, ids=lambda case: case.name)
def test_a_damaged_log_does_not_end_a_run(case: Case, bench: Bench) -> None:
    """Its checkpoint is whole; what is no line of a log is moved aside."""
    door = BY_NAME["train-resume"]
    good = bench.good(door)
    work = bench.work(door)
    log = work / "out/run/log.jsonl"
    case.damage(log)
    ended = bench.call(door, work)
    if case.name in ("folder", "named pipe", "broken link", "link loop"):
        assert_refused(ended, "log.jsonl")
        return
    assert ended.status == 0, ended.err
    assert ended.seen["weights"] == good.seen["weights"]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["epoch"] for entry in entries if entry["kind"] == "val"][-1] == 1


@pytest.mark.parametrize("case", checkpoints.STATE, ids=lambda case: case.name)
def test_a_hostile_training_state(case: Case, bench: Bench) -> None:
    """Refused in one line, or, where the checkpoint before it is whole, that is taken instead."""
    door = BY_NAME["train-resume"]
    good = bench.good(door)
    work = bench.work(door)
    case.damage(work / "out/run/last.pth")
    ended = bench.call(door, work)
    if case.ok:
        assert ended.status == 0, ended.err
        assert ended.seen["weights"] == good.seen["weights"]
    else:
        assert ended.status == 2, ended.out
        assert "last.pth" in ended.out + ended.err
        assert len(ended.faults) == 1, ended.err
