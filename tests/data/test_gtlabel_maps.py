"""data.gtlabel: anybody's label maps, id maps, many classes, and data sets by name."""

import json
import re

import numpy as np
import pytest
from helpers.bdd import bdd_at, write_jpg
from helpers.edge_labels import read_bits
from helpers.mapillary import config, mapillary_at

from data.bdd import LAYOUTS
from data.edge_files import read_edge_groups, read_edges, write_edges
from data.edges import class_groups, label_to_edges, unpack
from data.errors import InputError
from data.gtlabel import __main__ as script
from data.image_io import read_index, write_png


def run(*flags):
    """The status of the command with these flags; a string may hold several, between blanks."""
    words = [word for flag in flags for word in str(flag).split()]
    return script.main(script.parse_args(words))


def blocks(rng, ids, shape=(40, 56), size=8):
    """A map of random square regions."""
    coarse = rng.choice(ids, (shape[0] // size, shape[1] // size))
    return np.kron(coarse, np.ones((size, size), coarse.dtype))


def test_ids_are_classes(tmp_path, rng):
    label = blocks(rng, [0, 1, 2, 255]).astype(np.uint8)
    write_png(tmp_path / "maps/drive/a.png", label)
    assert run(f"--labels {tmp_path}/maps --num-classes 3 --out {tmp_path}/out --eval") == 0
    found = read_bits(tmp_path / "out/drive/a_edge.png")
    np.testing.assert_array_equal(found, label_to_edges(label, num_classes=3))
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/gt_eval/gt_raw/inst/drive/a.png"), found
    )
    assert (tmp_path / "out/edges.txt").read_text() == "/drive/a.png /drive/a_edge.png\n"


def test_id_map_and_16_bit_ids(tmp_path, rng):
    ids = blocks(rng, [7, 26, 300, 9]).astype(np.uint16)
    write_png(tmp_path / "maps/a.png", ids)
    (tmp_path / "map.json").write_text(json.dumps({"7": 0, "26": 1, "300": 1}))
    flags = f"--labels {tmp_path}/maps --num-classes 2 --out {tmp_path}/out"
    flags += f" --id-map {tmp_path}/map.json"
    assert run(flags) == 0
    label = np.select([ids == 7, np.isin(ids, (26, 300))], [0, 1], 255).astype(np.uint8)
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/a_edge.png"), label_to_edges(label, num_classes=2)
    )
    # Another map makes the labels stale.
    (tmp_path / "map.json").write_text(json.dumps({"7": 1, "26": 0}))
    assert run(flags) == 0
    label = np.select([ids == 7, ids == 26], [1, 0], 255).astype(np.uint8)
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/a_edge.png"), label_to_edges(label, num_classes=2)
    )


def test_instances_of_which_0_is_one_too(tmp_path):
    label = np.zeros((8, 12), np.uint8)
    label[:, 9:] = 1
    instance = np.zeros((8, 12), np.uint8)
    instance[:, 4:9] = 2  # Cityscapes would ignore this number; here it is an instance like another
    write_png(tmp_path / "maps/a.png", label)
    write_png(tmp_path / "inst/a.png", instance)
    flags = f"--labels {tmp_path}/maps --instances {tmp_path}/inst --num-classes 2 --radius 1"
    assert run(flags, "--out", tmp_path / "out") == 0
    assert read_bits(tmp_path / "out/a_edge.png")[3].tolist() == [
        0,
        0,
        0,
        1,
        1,
        0,
        0,
        0,
        3,
        3,
        0,
        0,
    ]
    assert run(flags, "--out", tmp_path / "flat", "--no-instance") == 0
    assert read_bits(tmp_path / "flat/a_edge.png")[3].tolist() == [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        3,
        3,
        0,
        0,
    ]


def test_ignored_ids_make_no_edge(tmp_path):
    label = np.array([[0, 0, 0, 5, 5, 5, 6, 6, 6, 0, 0, 0]] * 4, np.uint8)
    write_png(tmp_path / "maps/a.png", label)
    (tmp_path / "map.json").write_text('{"0": 0}')
    flags = f"--labels {tmp_path}/maps --num-classes 1 --radius 1 --id-map {tmp_path}/map.json"
    assert run(flags, "--ignored-ids", 5, "--out", tmp_path / "out") == 0
    assert read_bits(tmp_path / "out/a_edge.png")[1].tolist() == [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        0,
        0,
    ]


def test_65_classes_in_three_files(tmp_path, rng):
    label = blocks(rng, [*range(65), 255], (96, 96), 6).astype(np.uint8)
    write_png(tmp_path / "maps/a.png", label)
    flags = f"--labels {tmp_path}/maps --num-classes 65 --out {tmp_path}/out"
    assert run(flags, "--eval", "--visualize") == 0
    groups = read_edge_groups(tmp_path / "out/a_edge.png", 65)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "a_edge.png",
        "a_edge_24.png",
        "a_edge_48.png",
    ]
    found = np.concatenate(
        [unpack(group, count) for group, count in zip(groups, (24, 24, 17), strict=True)]
    )
    for k in range(65):  # each class by itself against all others
        alone = label_to_edges(np.where(label == k, 0, 255).astype(np.uint8), num_classes=1)
        np.testing.assert_array_equal(found[k], alone != 0)
    thin = read_edge_groups(tmp_path / "out/gt_eval/gt_thin/inst/a.png", 65)
    assert len(thin) == 3 and 0 < sum((group != 0).sum() for group in thin) < sum(
        (group != 0).sum() for group in groups
    )
    with pytest.raises(InputError, match="read them group by group"):
        read_edges(tmp_path / "out/a_edge.png", 65)
    # One file of three is missing: the label is made again.
    (tmp_path / "out/a_edge_48.png").unlink()
    assert run(flags) == 0
    assert (tmp_path / "out/a_edge_48.png").is_file()


def test_32_classes_are_joined(tmp_path, rng):
    label = blocks(rng, range(32), (64, 64)).astype(np.uint8)
    expected = label_to_edges(label, num_classes=32)
    groups = [
        label_to_edges(*ids, **options)
        for *ids, options in class_groups(label, None, num_classes=32)
    ]
    write_edges(tmp_path / "x_edge.png", groups)
    np.testing.assert_array_equal(read_edges(tmp_path / "x_edge.png", 32), expected)


def test_groups_ignore_what_the_whole_ignores(rng):
    label = blocks(rng, [*range(30), 255]).astype(np.uint8)
    instance = np.where(
        label == 255, rng.choice([1, 2, 3], label.shape), label.astype(int) + 2
    ).astype(np.int32)
    whole = unpack(label_to_edges(label, instance, num_classes=30), 30)
    groups = [
        label_to_edges(*ids, **options)
        for *ids, options in class_groups(label, instance, num_classes=30)
    ]
    np.testing.assert_array_equal(
        np.concatenate([unpack(groups[0], 24), unpack(groups[1], 6)]), whole
    )


def test_camvid_by_name(tmp_path, rng):
    label = blocks(rng, range(12)).astype(np.uint8)
    write_png(tmp_path / "camvid/val/a.png", np.zeros((*label.shape, 3), np.uint8))
    write_png(tmp_path / "camvid/valannot/a.png", label)
    (tmp_path / "camvid/val.txt").write_text("val/a.png valannot/a.png\n")
    flags = f"--dataset camvid --root {tmp_path}/camvid --split val --out {tmp_path}/out"
    assert run(flags, "--visualize", "--workers", 2) == 0
    label[label == 11] = 255
    np.testing.assert_array_equal(
        read_bits(tmp_path / "out/valannot/a_edge.png"), label_to_edges(label, num_classes=11)
    )
    assert (tmp_path / "out/val.txt").read_text() == "/val/a.png /valannot/a_edge.png\n"


def test_bdd_by_name(tmp_path):
    bdd_at(tmp_path / "bdd", LAYOUTS[1])
    flags = f"--dataset bdd --root {tmp_path}/bdd --split val --out {tmp_path}/out --eval"
    assert run(flags, "--visualize") == 0
    line = (tmp_path / "out/val.txt").read_text().splitlines()[1]
    assert line == "/seg/images/val/7d1-2.jpg /seg/labels/val/7d1-2_edge.png"
    label = read_index(tmp_path / "bdd/seg/labels/val/7d1-2_train_id.png")
    np.testing.assert_array_equal(
        read_bits(tmp_path / f"out{line.split()[1]}"), label_to_edges(label, num_classes=19)
    )
    assert (tmp_path / "out/gt_eval/gt_thin/inst/7d1-2.png").is_file()
    assert (tmp_path / "out/view/seg/labels/val/7d1-2_edge.png").is_file()


def test_mapillary_by_name_65_classes_with_instances(tmp_path, rng):
    root = mapillary_at(tmp_path / "vistas")
    (root / "config_v2.0.json").write_text(
        config((*(f"class {k}" for k in range(65)), "Unlabeled"))
    )
    ids = blocks(rng, range(66), (96, 96), 6).astype(np.uint8)
    coded = ids.astype(np.uint16) * 256 + blocks(rng, range(3), (96, 96), 12).astype(np.uint16)
    for name in ("aa", "bb"):
        write_jpg(root / f"training/images/{name}.jpg", np.zeros((96, 96, 3), np.uint8))
        write_png(root / f"training/v2.0/labels/{name}.png", ids)
        write_png(root / f"training/v2.0/instances/{name}.png", coded)
    flags = f"--dataset mapillary --root {root} --out {tmp_path}/out --eval --visualize"
    assert run(flags, "--workers", 2, "--option", "version=v2.0") == 0
    groups = read_edge_groups(tmp_path / "out/training/v2.0/labels/aa_edge.png", 65)
    found = np.concatenate(
        [unpack(group, count) for group, count in zip(groups, (24, 24, 17), strict=True)]
    )
    padded = np.pad(coded.astype(int), 2, mode="edge")
    shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if 0 < dy * dy + dx * dx <= 4]
    for k in range(65):  # plainly: within radius 2 another region, and one of the two of class k
        region = np.where(padded // 256 == k, padded, -1)
        expected = np.zeros((96, 96), bool)
        for dy, dx in shifts:
            expected |= region[2:-2, 2:-2] != region[2 + dy : 98 + dy, 2 + dx : 98 + dx]
        np.testing.assert_array_equal(found[k], expected)
    assert len(list((tmp_path / "out/gt_eval/gt_thin/inst").glob("bb*.png"))) == 3
    with pytest.raises(InputError, match=r"'v2.0' is no option of a data set; expected NAME=VALUE"):
        run(flags, "--option", "v2.0")
    with pytest.raises(
        InputError, match="mapillary has no option 'cv'; it takes version, images, instances"
    ):
        run(flags, "--option", "cv=1", "instances=false")


def test_failures(tmp_path, capsys):
    for name in ("good", "wrong"):
        write_png(
            tmp_path / f"maps/{name}.png", np.full((6, 6), 1 if name == "good" else 9, np.uint8)
        )
        write_png(tmp_path / f"inst/{name}.png", np.zeros((6, 6), np.uint8))
    write_png(tmp_path / "maps/colour.png", np.zeros((6, 6, 3), np.uint8))
    flags = ("--labels", tmp_path / "maps", "--num-classes", 2, "--out", tmp_path / "out")
    assert run(*flags) == 2
    said = capsys.readouterr().err
    assert re.search(r"colour.png: found 3 channels: a colour image.*--id-map", said)
    assert "failed: id 9 (1 file) is out of range; expected 0..1 or 255; give another" in said
    assert (tmp_path / "out/good_edge.png").is_file()
    (tmp_path / "inst/good.png").unlink()
    assert run(*flags, "--instances", tmp_path / "inst", "--overwrite") == 2
    assert "inst/good.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "is not JSON like"),
        ("{", "is no JSON"),
        ('{"7": 5}', "maps id 7 to class 5; expected a whole number, 0..1, or null"),
        ('{"7": 1.9}', "maps id 7 to class 1.9"),
        ('{"7": true}', "maps id 7 to class True"),
        ('{"7": "1"}', "maps id 7 to class 1"),
        ('{"7": NaN}', "NaN is no number of JSON"),
        ('{"7": 1e400}', "is too large a number"),
        ('{"7": 0, "7": 1}', "'7' occurs twice"),
        ('{"07": 0}', "'07' is no label id"),
        ('{"1.5": 0}', r"'1.5' is no label id; expected a whole number, 0 to 65535"),
        ('{"\u00b2": 0}', "is no label id"),
        ('{"65536": 0}', "'65536' is no label id"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_id_maps(tmp_path, text, words):
    write_png(tmp_path / "maps/a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(InputError, match=words):
        run(
            f"--labels {tmp_path}/maps --num-classes 2 --out {tmp_path}/out",
            f"--id-map {tmp_path}/map.json",
        )


def test_bad_commands(tmp_path):
    (tmp_path / "empty").mkdir()
    maps = tmp_path / "maps"
    write_png(maps / "a.png", np.array([[0, 7]], np.uint8))
    for flags, words in [
        ((), "either --labels"),
        (("--labels", maps), "needs --num-classes K.*255 is none; a.png has 0, 7"),
        (("--dataset", "camvid"), "needs --root"),
        (("--dataset", "venus", "--root", tmp_path), "unknown data set 'venus'"),
        (("--labels", tmp_path / "out", "--num-classes", 2), "choose another"),
        (("--labels", maps, "--root", maps), "--root goes with --dataset, not with --labels"),
        (("--dataset", "camvid", "--id-map", maps), "--id-map goes with --labels"),
    ]:
        with pytest.raises(InputError, match=words):
            run(*flags, "--out", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"no \*.png below"):
        run("--labels", tmp_path / "empty", "--num-classes", 2, "--out", tmp_path / "out")
