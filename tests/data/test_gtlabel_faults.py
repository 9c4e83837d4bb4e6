"""Label scripts and bad input: nothing of the user's is replaced, nothing goes wrong in silence."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from helpers.bdd import bdd_at
from helpers.camvid import camvid_at
from helpers.edge_labels import read_bits
from helpers.kitti import draw_frame
from helpers.mapillary import mapillary_at
from helpers.sbd import NAME, write_ground_truth
from helpers.sbd import run as label_sbd

from data import build_dataset, cityscapes_gtlabel, kitti_gtlabel, sbd_gtlabel
from data.camvid import CamVid
from data.edges import label_to_edges
from data.errors import InputError
from data.errors import run as as_script
from data.gtlabel import __main__ as gtlabel
from data.gtlabel import jobs, polygons, pool, records
from data.gtlabel.polygons import draw_polygons
from data.image_io import write_png
from data.sbd import SBD
from data.sbd_ground_truth import read_sbd_ground_truth

ROOT = Path(__file__).resolve().parents[2]


def label(*flags: object) -> int:
    """The exit status of data.gtlabel, as a script ends."""
    return as_script(lambda: gtlabel.main(gtlabel.parse_args([*map(str, flags)])))


def label_folder(root: Path, *flags: object, classes: int = 2) -> int:
    """The exit status for ROOT/maps, into ROOT/out unless a flag says otherwise."""
    out = () if "--out" in flags else ("--out", root / "out")
    return label("--labels", root / "maps", "--num-classes", classes, *out, *flags)


def maps_at(root: Path, *names: str) -> Path:
    """A map of two classes, halves of 8x8 pixels, under each name."""
    for name in names or ("a.png",):
        write_png(root / "maps" / name, np.repeat(np.eye(2, dtype=np.uint8), 4, 0).repeat(4, 1))
    return root / "maps"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- outputs never replace what is not ours ---


@pytest.mark.parametrize("through_a_link", [False, True])
def test_lists_of_a_data_set_are_not_replaced(
    tmp_path: Path, through_a_link: bool, capsys: pytest.CaptureFixture
) -> None:
    root = camvid_at(tmp_path / "camvid")
    before = contents(root)
    out = root
    if through_a_link:
        out = tmp_path / "link"
        out.symlink_to(root)
    for split in ("train", "trainval"):
        status = label("--dataset", "camvid", "--root", root, "--split", split, "--out", out)
        # The list of trainval is none of the data set's, so nothing is replaced by it.
        assert status == (2 if split == "train" else 0)
        if split == "train":
            assert contents(root) == before
            said = capsys.readouterr().err
            assert "1 files of the data set would be replaced, such as" in said
            assert "train.txt" in said
    assert all(contents(root)[path] == content for path, content in before.items())


def test_lists_of_sbd_are_not_replaced(
    sbd_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = sbd_root / "dataset"
    before = contents(root)
    flags = ("--dataset", "sbd", "--root", root, "--split", "test", "--out", root)
    assert label(*flags) == 0  # test.txt is none of SBD's lists
    assert label(*flags[:5], "val", *flags[6:], "--option", "holdout=x") == 2
    capsys.readouterr()
    (root / "train.txt").write_text(f"{NAME}\n" * 1)
    status = label("--dataset", "sbd", "--root", root, "--split", "trainval", "--out", root)
    assert status == 0
    assert label("--dataset", "sbd", "--root", root, "--split", "train", "--out", root) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (root / "val.txt").read_bytes() == before[str(root / "val.txt")]


def test_files_that_no_label_script_wrote_are_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "edges.txt").write_text("my notes about edges\n")
    assert label_folder(tmp_path) == 2
    assert "edges.txt: is no list that a label script wrote" in capsys.readouterr().err
    (out / "edges.txt").unlink()
    (out / "a_edge.png").write_bytes(b"drawn by hand")
    assert label_folder(tmp_path) == 2
    assert "a_edge.png: would be replaced, but no label script" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["a_edge.png"]
    assert label_folder(tmp_path, "--overwrite") == 0
    (out / "gtlabel.json").write_text('{"mine": 1}')
    assert label_folder(tmp_path) == 2
    assert "gtlabel.json: is no stamp of a label script" in capsys.readouterr().err
    for text in ("{", '{"radius": NaN}', "[]", "\udcff"):
        (out / "gtlabel.json").write_text(text, errors="surrogateescape")
        assert label_folder(tmp_path) == 2
        said = capsys.readouterr().err
        assert "gtlabel.json" in said and said.count("\n") == 1


def test_published_places_may_be_the_data_set(tmp_path: Path) -> None:
    """Cityscapes and KITTI: OUT may be ROOT, again and again."""
    root = tmp_path / "kitti"
    ids, coded = draw_frame()
    for kind, image in (("semantic", ids), ("instance", coded)):
        write_png(root / "training" / kind / "0_10.png", image)
    before = contents(root)
    flags = ["--root", str(root), "--out", str(root), "--eval"]
    for _ in range(2):
        assert kitti_gtlabel.main(kitti_gtlabel.parse_args(flags)) == 0
        assert before.items() <= contents(root).items()
    assert len(build_dataset("kitti", root, "trainval", images=False)) == 1  # and no edge label


@pytest.mark.parametrize(("name", "helper"), [("bdd", bdd_at), ("mapillary", mapillary_at)])
def test_labels_in_the_data_set_are_no_label_maps(
    tmp_path: Path, name: str, helper: Callable[[Path], Path]
) -> None:
    root = helper(tmp_path / name)
    count = len(build_dataset(name, root, "train"))
    for _ in range(2):
        assert label("--dataset", name, "--root", root, "--out", root, "--eval") == 0
        assert len(build_dataset(name, root, "train")) == count


def test_label_maps_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The label map of one image would be the coloured image of another."""
    maps = maps_at(tmp_path, "a.png", "a_edge.png").rename(tmp_path / "view")
    before = contents(tmp_path)
    flags = ("--labels", maps, "--num-classes", 2, "--out", tmp_path, "--visualize")
    assert label(*flags) == 2
    assert "1 files of the data set would be replaced, such as" in capsys.readouterr().err
    assert label(*flags, "--overwrite") == 2
    assert contents(tmp_path) == before


def test_results_inside_the_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps = maps_at(tmp_path, "a.png", "train/b.png")
    inside = maps / "edges"
    for _ in range(2):
        assert label_folder(tmp_path, "--out", inside, "--eval") == 0
    lines = (inside / "edges.txt").read_text().splitlines()
    assert lines == ["/a.png /a_edge.png", "/train/b.png /train/b_edge.png"]
    capsys.readouterr()
    assert label_folder(tmp_path, "--out", maps / "train") == 2  # b would be left out
    assert "train: holds label maps below --labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("a.png", "a_labelIds.png"), 2),
        (("a.png", "a_edge.png"), 2),  # gt_eval/…/a_edge.png is fine, a_edge_24.png is not
        (("e\u0301.png", "\u00e9.png"), 2),
    ],
)
def test_two_maps_with_one_output(
    tmp_path: Path, names: tuple[str, ...], classes: int, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path, *names)
    status = label_folder(tmp_path, classes=classes)
    if names[1] == "a_edge.png":
        assert status == 0
        return
    assert status == 2
    assert "would both be written as" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_groups_of_classes_count_as_outputs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With more than 24 classes a.png has the evaluation file a_24.png."""
    maps_at(tmp_path, "a.png", "a_24.png")
    assert label_folder(tmp_path, "--eval") == 0
    assert label_folder(tmp_path, "--eval", "--out", tmp_path / "more", classes=30) == 2
    assert "a.png and a_24.png would both be written as" in capsys.readouterr().err.replace(
        "a_24.png and a.png", "a.png and a_24.png"
    )
    assert not (tmp_path / "more").exists()


def test_one_name_in_two_folders_of_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = camvid_at(tmp_path)
    for folder in ("train", "trainannot"):
        shutil.copytree(root / folder, root / f"{folder}2")
    lines = (root / "train.txt").read_text()
    (root / "train.txt").write_text(lines + lines.replace("train/", "train2/"))
    flags = ("--dataset", "camvid", "--root", root, "--out", tmp_path / "out", "--eval")
    assert label(*flags) == 2
    assert "3 names occur twice, such as train0" in capsys.readouterr().err


def test_disk_and_permission_are_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert label_folder(tmp_path, "--out", out) == 2
        said = capsys.readouterr().err
        assert f"--out {out}: cannot be written to (" in said and said.count("\n") == 1
    usage = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert label_folder(tmp_path) == 2
    assert "4 files of labels needs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- lists ---


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train/train0.png ../evil/x.png", "'../evil/x.png' is no path below"),
        ("train/train0.png /etc/x.png", "'/etc/x.png' is no path below"),
        ("/SegNet/CamVid/../x.png trainannot/train0.png", "is no path below"),
        ("train/one more.png trainannot/train0.png", "found 3 parts, expected 2 paths"),
    ],
)
def test_lists_that_lead_elsewhere(
    tmp_path: Path, line: str, words: str, capsys: pytest.CaptureFixture
) -> None:
    root = camvid_at(tmp_path / "camvid")
    (root / "train.txt").write_text(f"{line}\n")
    assert label("--dataset", "camvid", "--root", root, "--out", tmp_path / "out") == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/b", "two words", ".."])
def test_names_of_sbd_that_lead_elsewhere(
    sbd_root: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    with (sbd_root / "dataset/train.txt").open("a") as file:
        file.write(f"{name}\n")
    assert as_script(lambda: label_sbd(sbd_root, tmp_path / "out")) == 2
    assert "1 of 3 lines cannot be read: line 3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lists_of_sbd(sbd_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train = sbd_root / "dataset/train.txt"
    train.write_text(train.read_text() + f"{NAME}\n")
    assert as_script(lambda: label_sbd(sbd_root, tmp_path / "out")) == 2
    assert f"train.txt and val.txt: 1 names occur twice, such as {NAME}" in capsys.readouterr().err
    train.write_bytes("\ufeff".encode() + f"{NAME}\n".encode())
    assert SBD(sbd_root, "trainval").records[0].name == NAME
    for content, words in (
        (NAME.encode("utf-16"), "is UTF-16; expected UTF-8"),
        (b"caf\xe9\n", "train.txt:1: is not UTF-8 (byte 0xe9; Latin-1, perhaps)"),
    ):
        train.write_bytes(content)
        assert as_script(lambda: label_sbd(sbd_root, tmp_path / "out")) == 2
        assert words in capsys.readouterr().err
    flags = ["--root", str(sbd_root), "--out", str(tmp_path / "o"), "--scales", "1", "1"]
    assert as_script(lambda: sbd_gtlabel.main(sbd_gtlabel.parse_args(flags))) == 2
    assert "--scales: 1 names occur twice, such as scale_1" in capsys.readouterr().err


def test_prepared_lists_stay_inside(sbd_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert label_sbd(sbd_root, out, "--scales", 1) == 0
    listed = out / "trainaug_inst_orig.txt"
    listed.write_text(listed.read_text().replace("/label_inst_orig/", "/../label_inst_orig/"))
    with pytest.raises(InputError, match="is no path below the data set's folder"):
        SBD(out, "train")
    flags = ("--dataset", "sbd", "--root", out, "--split", "test", "--out", tmp_path / "x")
    assert label(*flags) == 2  # it holds edges, but no label maps


@pytest.mark.parametrize(
    "name", ["two words.png", "line\nbreak.png", os.fsdecode(b"stra\xdfe.png")]
)
def test_names_that_no_list_can_hold(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    maps = maps_at(tmp_path)
    shutil.copyfile(maps / "a.png", maps / name)
    assert label_folder(tmp_path) == 2
    said = capsys.readouterr().err
    assert "names of files" in said and "rename them" in said
    assert not (tmp_path / "out").exists()


def test_lists_name_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps = maps_at(tmp_path, "a.png", "b.png")
    (maps / "b.png").write_bytes(b"")
    assert label_folder(tmp_path) == 2
    assert (tmp_path / "out/edges.txt").read_text() == "/a.png /a_edge.png\n"
    said = capsys.readouterr().err
    assert said.count("b.png") == 1 and said.startswith(f"failed: {maps}/b.png: the file is empty")
    (maps / "a.png").write_bytes(b"")
    assert label_folder(tmp_path, "--out", tmp_path / "none") == 2
    assert not (tmp_path / "none/edges.txt").exists()


def test_many_failures_with_one_reason_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    maps = maps_at(tmp_path, *(f"{k}.png" for k in range(6)))
    for k in range(1, 6):
        (maps / f"{k}.png").write_bytes(b"")
    assert label_folder(tmp_path) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"failed: 5 files: the file is empty; replace it: {maps}/1.png, " in said.err
    assert "1 made, 0 up to date, 5 failed" in said.out


# --- class names, ids, notes ---


def test_names_that_no_list_holds_are_those_of_the_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path, "a b.png", "c.png")
    assert label_folder(tmp_path) == 2
    assert "1 names of files have spaces, such as 'a b.png'; lists" in capsys.readouterr().err


def test_encodings_of_class_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps_at(tmp_path)
    names = tmp_path / "names.txt"
    flags = ("--class-names", names, "--visualize")
    names.write_bytes("\ufeffsky\nstra\u00dfe\n".encode())
    assert label_folder(tmp_path, *flags) == 0
    for content, words in (
        ("sky\nroad\n".encode("utf-16"), "names.txt: is UTF-16; expected UTF-8"),
        (b"sky\nstra\xdfe\n", "names.txt:2: is not UTF-8 (byte 0xdf"),
        (b"sky\n", "has 1 names; expected 2"),
        (b"sky\n" + b"x" * 101, "has 101 characters; expected at most 100"),
    ):
        names.write_bytes(content)
        assert label_folder(tmp_path, *flags) == 2
        assert words in capsys.readouterr().err


def test_ids_that_a_map_leaves_out_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, ids in (("a", [0, 4, 7, 9]), ("b", [0, 7, 7, 7]), ("c", [7, 7, 7, 9])):
        write_png(tmp_path / f"maps/{name}.png", np.array([ids] * 4, np.uint8))
    (tmp_path / "ids.json").write_text('{"7": 0, "8": 1, "9": null, "12": 2}')
    assert label_folder(tmp_path, "--id-map", tmp_path / "ids.json", classes=4) == 0
    said = capsys.readouterr().out
    assert (
        "note: ids 0 (2 files) and 4 (1 file) are not in ids.json and count as no class\n" in said
    )
    assert "note: class 3 has no id\n" in said
    assert "note: classes 1 and 2 occur in no map; ids found: 0, 4, 7, 9\n" in said
    expected = np.where(np.array([[0, 4, 7, 9]] * 4) == 7, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/a_edge.png"), label_to_edges(expected, num_classes=4)
    )
    shutil.copy(tmp_path / "maps/a.png", tmp_path / "maps/d.png")
    assert label_folder(tmp_path, "--id-map", tmp_path / "ids.json", classes=4) == 0
    said = capsys.readouterr().out
    assert "count as no class (of the 1 read in this run, of 4)\n" in said
    flags = ("--id-map", tmp_path / "ids.json", "--ignored-ids", 0, 4, "--out", tmp_path / "o")
    assert label_folder(tmp_path, *flags, classes=4) == 0
    assert "count as no class" not in capsys.readouterr().out  # somebody said so


def test_masks_of_0_and_255(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_png(tmp_path / "maps/a.png", np.array([[0, 0, 255, 255]] * 4, np.uint8))
    assert label_folder(tmp_path) == 0
    assert (
        "note: class 1 occurs in no map; ids found: 0, 255; if 255 is a class, use --id-map\n"
        in capsys.readouterr().out
    )
    assert label_folder(tmp_path) == 0  # nothing is read, so nothing is known of all maps
    assert "note" not in capsys.readouterr().out


def test_one_bit_masks_are_ids(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from PIL import Image

    (tmp_path / "maps").mkdir()
    mask = np.zeros((6, 8), bool)
    mask[:, 4:] = True
    Image.fromarray(mask).save(tmp_path / "maps/a.png")
    assert label_folder(tmp_path) == 0
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/a_edge.png"),
        label_to_edges(mask.astype(np.uint8), num_classes=2),
    )
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, 2])
def test_ids_out_of_range_are_one_line(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path, *(f"{k:02}.png" for k in range(20)))
    for k, strange in ((3, 77), (11, 77), (19, 99)):
        write_png(tmp_path / f"maps/{k:02}.png", np.full((4, 4), strange, np.uint8))
    assert label_folder(tmp_path, "--workers", workers) == 2
    said = capsys.readouterr()
    assert said.err == (
        "failed: ids 77 (2 files) and 99 (1 file) are out of range; expected 0..1 or 255; give "
        "another --num-classes, or say with --id-map or --ignored-ids what they are: 03.png, "
        "11.png, 19.png\n"
    )
    made = len(list((tmp_path / "out").glob("*_edge.png")))
    assert made == 3 if workers == 1 else made < 17  # none after the first that failed
    assert f"{made} made, 0 up to date, 3 failed, {17 - made} not made" in said.out
    assert not (tmp_path / "out/edges.txt").exists()
    assert label_folder(tmp_path, "--ignored-ids", 77, 99) == 0
    assert len((tmp_path / "out/edges.txt").read_text().splitlines()) == 20


# --- what labels are made of ---


def test_a_corrected_map_with_an_older_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps = maps_at(tmp_path)
    assert label_folder(tmp_path) == 0
    first = read_bits(tmp_path / "out/a_edge.png")
    write_png(maps / "a.png", np.array([[0, 1] * 4] * 8, np.uint8))
    os.utime(maps / "a.png", ns=(10**15, 10**15))
    assert label_folder(tmp_path) == 0
    assert "1 made, 0 up to date" in capsys.readouterr().out
    assert (read_bits(tmp_path / "out/a_edge.png") != first).any()
    assert label_folder(tmp_path) == 0
    assert "all 1 are up to date" in capsys.readouterr().out


def test_a_label_without_content_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """As a power cut soon after it was written can leave it."""
    maps_at(tmp_path)
    assert label_folder(tmp_path) == 0
    label = tmp_path / "out/a_edge.png"
    whole = label.read_bytes()
    label.write_bytes(b"")
    capsys.readouterr()
    assert label_folder(tmp_path) == 0
    assert "1 made, 0 up to date" in capsys.readouterr().out
    assert label.read_bytes() == whole


def test_folders_without_records_are_compared_by_time_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    maps = maps_at(tmp_path)
    assert label_folder(tmp_path) == 0
    noted = tmp_path / "out" / records.NAME
    noted.unlink()  # as an older version of the script left it
    assert label_folder(tmp_path) == 0
    assert "all 1 are up to date" in capsys.readouterr().out
    os.utime(maps / "a.png", ns=(0, 0))
    assert label_folder(tmp_path) == 0
    assert "1 made" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe\x00", b"{}\n[1]\n{", b'{"a_edge.png": 3}\n', b'{"a_edge.png": "x']
)
def test_damaged_records_count_as_none(
    tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture
) -> None:
    maps_at(tmp_path, "a.png", "b.png")
    assert label_folder(tmp_path) == 0
    (tmp_path / "out" / records.NAME).write_bytes(damage)
    (tmp_path / "out/b_edge.png").unlink()
    for expected in ("1 made, 1 up to date", "all 2 are up to date"):
        assert label_folder(tmp_path) == 0
        assert expected in capsys.readouterr().out
    assert set(records.Records(tmp_path / "out")._digests) == {"a_edge.png", "b_edge.png"}


def test_records_do_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SPARE_ENTRIES", 3)
    maps_at(tmp_path)
    for _ in range(12):
        assert label_folder(tmp_path, "--overwrite") == 0
    assert len((tmp_path / "out" / records.NAME).read_text().split()) <= 2 * 7


def test_two_scripts_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = camvid_at(tmp_path / "camvid")
    for expected in ("3 made", "all 3 are up to date"):
        for split in ("train", "val"):
            flags = ("--dataset", "camvid", "--root", root, "--out", tmp_path / "out")
            assert label(*flags, "--split", split) == 0
            assert expected in capsys.readouterr().out


# --- files that are not what they seem ---


def test_folders_links_endings_and_pipes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps = maps_at(tmp_path, "a.png", "B.PNG", ".hidden/c.png", "._d.png")
    maps_at(tmp_path / "elsewhere", "e.png")
    (maps / "seq").symlink_to(tmp_path / "elsewhere/maps")
    (maps / "loop").symlink_to(maps)
    os.mkfifo(maps / "pipe.png")
    (maps / "folder.png").mkdir()
    assert label_folder(tmp_path) == 0
    assert (tmp_path / "out/edges.txt").read_text().splitlines() == [
        "/B.PNG /B_edge.png",
        "/a.png /a_edge.png",
        "/seq/e.png /seq/e_edge.png",
    ]
    assert label("--labels", maps / "a.png", "--num-classes", 2, "--out", tmp_path / "x") == 2
    (tmp_path / "turn").symlink_to(tmp_path / "turn")
    assert label("--labels", tmp_path / "turn", "--num-classes", 2, "--out", tmp_path / "x") == 2
    assert label_folder(tmp_path, "--instances", tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.count("no such folder") == 3


def test_pipes_in_data_sets(tmp_path: Path, sbd_root: Path, capsys: pytest.CaptureFixture) -> None:
    for folder, name in (("cls", f"{NAME}.mat"), ("inst", f"{NAME}.mat")):
        path = sbd_root / "dataset" / folder / name
        path.unlink()
        os.mkfifo(path)
    assert as_script(lambda: label_sbd(sbd_root, tmp_path / "out")) == 2
    assert "is a named pipe, a socket or a device" in capsys.readouterr().err
    labels = tmp_path / "odometry" / "00"
    labels.mkdir(parents=True)
    os.mkfifo(labels / "000000.png")
    flags = ["--odometry-labels", str(labels.parent), "--out", str(tmp_path / "o")]
    assert as_script(lambda: kitti_gtlabel.main(kitti_gtlabel.parse_args(flags))) == 2
    assert "no label maps for sequence NN" in capsys.readouterr().err
    os.mkfifo(tmp_path / "ids.json")
    maps_at(tmp_path)
    assert label_folder(tmp_path, "--id-map", tmp_path / "ids.json") == 2


@pytest.mark.parametrize("file", ["image", "label", "instance"])
def test_maps_have_the_size_of_their_image(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "kitti"
    ids, coded = draw_frame()
    images = {"semantic": ids, "instance": coded, "image_2": np.zeros((12, 20, 3), np.uint8)}
    kind = {"image": "image_2", "label": "semantic", "instance": "instance"}[file]
    images[kind] = images[kind][:-1]
    for folder, image in images.items():
        write_png(root / "training" / folder / "0_10.png", image)
    flags = ["--root", str(root), "--out", str(tmp_path / "out")]
    assert as_script(lambda: kitti_gtlabel.main(kitti_gtlabel.parse_args(flags))) == 2
    assert "0_10.png: the " in capsys.readouterr().err
    with pytest.raises(InputError, match="but its image"):
        build_dataset("kitti", root, "trainval").edge_ground_truth(0, thin=True)


def test_sizes_in_evaluation(tmp_path: Path, sbd_root: Path) -> None:
    root = camvid_at(tmp_path / "camvid")
    write_png(root / "valannot/val0.png", np.zeros((3, 5), np.uint8))
    with pytest.raises(InputError, match=r"the label is 5x3, but its image .* is 6x4"):
        CamVid(root, "val").edge_ground_truth(0, thin=True)
    write_png(sbd_root / f"dataset/img/{NAME}.jpg", np.zeros((30, 40, 3), np.uint8))
    for scale in (1.0, 0.5):
        with pytest.raises(InputError, match=r"the label is 500x371, but its image .* is 40x30"):
            SBD(sbd_root, "trainval").edge_ground_truth(0, thin=True, scale=scale)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cls_seg", np.nan, "GTcls.Segmentation holds nan; expected whole numbers from 0 to 20"),
        ("cls_seg", -1, "GTcls.Segmentation holds -1"),
        ("cls_seg", 0.5, "GTcls.Segmentation holds 0.5"),
        ("cls_seg", 77, "GTcls.Segmentation holds 77"),
        ("inst_seg", -1, "GTinst.Segmentation holds -1"),
        ("inst_seg", np.inf, "GTinst.Segmentation holds inf"),
        ("categories", np.nan, "Categories holds nan"),
        ("categories", 0, "Categories holds 0.0; expected whole numbers from 1 to 20"),
    ],
)
def test_sbd_numbers_that_are_none(
    sbd_root: Path, sbd_golden: dict, field: str, value: float, words: str
) -> None:
    wrong = sbd_golden[field].astype(float)
    wrong.flat[0] = value
    write_ground_truth(sbd_root / "dataset", NAME, {**sbd_golden, field: wrong})
    files = (sbd_root / f"dataset/{kind}/{NAME}.mat" for kind in ("cls", "inst"))
    with pytest.raises(InputError, match=words):
        read_sbd_ground_truth(*files)


def test_sbd_structures_that_are_none(sbd_root: Path, tmp_path: Path) -> None:
    import scipy.io

    cls, inst = (sbd_root / f"dataset/{kind}/{NAME}.mat" for kind in ("cls", "inst"))
    whole = scipy.io.loadmat(cls)["GTcls"][0, 0]
    text = np.empty((20, 1), object)
    text[:] = "text"
    for boundaries, segmentation, words in (
        (text, whole["Segmentation"], "a boundary is no map of numbers"),
        (text[:3], whole["Segmentation"], "has Boundaries of 3 classes; expected 20"),
        (whole["Boundaries"], "text", "is no array of numbers"),
    ):
        structure = {"Boundaries": boundaries, "Segmentation": segmentation}
        scipy.io.savemat(cls, {"GTcls": structure})
        with pytest.raises(InputError, match=words):
            read_sbd_ground_truth(cls, inst)
    scipy.io.savemat(tmp_path / "seed.mat", {"valSet": np.array([[np.nan], [1.0]])})
    with pytest.raises(InputError, match="its first variable holds nan; expected whole numbers"):
        SBD(sbd_root, "val", holdout=tmp_path / "seed.mat")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"polygon": [[0, 0], [float("nan"), 3]]}, "NaN is no number of JSON"),
        ({"polygon": [[0, 0], [1e300, 3], [0, 5]]}, "object 0: its polygon is no list of points"),
        ({"polygon": [[0, 0]]}, "its polygon has 1 points; expected 2 or more"),
        ({"polygon": "text"}, "its polygon is no list of points"),
        ({"polygon": [[0, 1]] * 9}, "found 9 points; expected at most 8"),
        ({"label": "moon"}, "its label 'moon' is not in Cityscapes' table"),
        ({"label": 3}, "its label is no text"),
    ],
)
def test_polygons_that_cannot_be_drawn(
    tmp_path: Path, change: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cityscapesscripts")
    monkeypatch.setattr(polygons, "MAX_POINTS", 8)
    drawn = {"label": "road", "polygon": [[0, 0], [5, 0], [5, 5]], **change}
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_text(json.dumps({"imgHeight": 8, "imgWidth": 9, "objects": [drawn]}))
    with pytest.raises(InputError, match=words):
        draw_polygons(path)
    for side in (-1, 10**12, "8", None, 1.5):
        path.write_text(json.dumps({"imgHeight": side, "imgWidth": 9, "objects": []}))
        with pytest.raises(InputError, match=r"imgHeight is .*; expected 1 to 65536"):
            draw_polygons(path)


def test_deleted_and_grouped_objects_are_drawn_as_published(tmp_path: Path) -> None:
    pytest.importorskip("cityscapesscripts")
    square = [[1, 1], [4, 1], [4, 4], [1, 4]]
    objects = [
        {"label": "moon", "polygon": square, "deleted": 1},
        {"label": "cargroup", "polygon": square},
        {"label": "license plate", "polygon": square},
    ]
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_text(json.dumps({"imgHeight": 6, "imgWidth": 6, "objects": objects}))
    ids, numbers = draw_polygons(path)
    assert ids[2, 2] == 26 and numbers[2, 2] == 26 and ids[0, 0] == 0


def test_duplicated_frames_of_cityscapes(tmp_path: Path) -> None:
    folder = tmp_path / "cs/gtFine/train/ulm"
    for name in ("ulm_0_gtFine_labelIds.png", "ulm_0_gtFine_labelIds.PNG"):
        write_png(folder / "x.png", np.zeros((4, 4), np.uint8))
        (folder / "x.png").rename(folder / name)
    flags = ["--root", str(tmp_path / "cs"), "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"both .*labelIds.* are ulm/ulm_0; remove or rename one"):
        cityscapes_gtlabel.main(cityscapes_gtlabel.parse_args(flags))


# --- faults in one job ---


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TypeError("odd"), r"TypeError: odd \(test_gtlabel_faults.py:\d+; this is a fault of the"),
        (MemoryError("3 GB"), r"not enough memory \(3 GB\)"),
        (zlib.error("broken"), "error: broken"),
        (OSError(28, "No space left on device", "b_edge.png"), "b_edge.png: No space left"),
    ],
)
def test_one_job_that_fails_ends_no_other(
    tmp_path: Path, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    import re

    maps_at(tmp_path, "a.png", "b.png", "c.png")
    real = gtlabel.MapReader.__call__

    def fail(self: object, path: Path, instance: Path | None) -> object:
        if path.name == "b.png":
            raise error
        return real(self, path, instance)

    monkeypatch.setattr(gtlabel.MapReader, "__call__", fail)
    assert label_folder(tmp_path) == 2
    said = capsys.readouterr()
    assert re.search(f"failed: (b.png: )?{words}", said.err)
    assert said.err.count("\n") == 1
    assert "2 made, 0 up to date, 1 failed" in said.out


def test_too_many_deaths_end_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started here: deaths are what the pool reports."""

    def dies(jobs, _workers, waiting):
        begun = list(islice(jobs, waiting))
        return begun
        yield

    monkeypatch.setattr(pool, "_until_one_dies", dies)
    todo = [jobs.Job(str(k), (), lambda: None, ()) for k in range(40)]
    results = list(pool.run_each(iter(todo), len(todo), pool.WorkOptions(workers=2)))
    assert sorted(result.name for result in results) == sorted(job.name for job in todo)
    assert all(result.failure.reason == pool.WORKER_DIED for result in results)


# --- processes ---


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGTERM, 143, "terminated\n"),
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_a_run_that_is_ended_leaves_no_process_and_no_half_file(
    tmp_path: Path, number: int, status: int, words: str
) -> None:
    maps = maps_at(tmp_path, "000.png")
    big = np.kron(np.arange(400).reshape(20, 20) % 5, np.ones((30, 30), int)).astype(np.uint8)
    write_png(maps / "000.png", big)
    for k in range(1, 200):
        os.link(maps / "000.png", maps / f"{k:03}.png")
    command = [sys.executable, "-m", "data.gtlabel", "--labels", maps, "--num-classes", "5"]
    command += ["--out", tmp_path / "out", "--eval", "--workers", "2"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True, text=True
    ) as script:
        wait_until(lambda: any((tmp_path / "out").glob("*_edge.png")), 60)
        children = [int(pid) for pid in children_of(script.pid)]
        assert len(children) >= 2
        script.send_signal(number)
        assert script.wait(60) == status
        wait_until(lambda: not any(is_alive(pid) for pid in children), 10)
        said = script.stderr.read()
    if number != signal.SIGKILL:  # then loky's tracker reports what it removes
        assert said == words
        assert not list((tmp_path / "out").rglob("*.part"))
    made = list((tmp_path / "out").glob("*_edge.png"))
    assert 0 < len(made) < 200
    for path in made:
        assert read_bits(path).shape == big.shape


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def children_of(pid: int) -> list[str]:
    if not Path("/proc/self/task").exists():
        pytest.skip("looks for processes in Linux's /proc")
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_alive(pid: int) -> bool:
    """Whether a process is there and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
