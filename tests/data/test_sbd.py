"""data.sbd and data.sbd_gtlabel: golden labels, lists, hold-out, both layouts, broken files."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from helpers.edge_labels import read_bits
from helpers.sbd import NAME, OTHER, TESTED, run, write_ground_truth

from data.edge_files import edge_label_path, require_edge_labels
from data.edges import pack
from data.errors import InputError
from data.image_io import read_image
from data.imresize import imresize
from data.sbd import SBD, draw_holdout, read_holdout
from data.sbd_ground_truth import read_sbd_ground_truth


def test_labels_are_the_published_ones(sbd_root, tmp_path, sbd_golden):
    out = tmp_path / "out"
    assert run(sbd_root, out, "--eval") == 0
    for kind in ("inst", "cls"):
        for scale in ("0.5", "1"):
            expected = sbd_golden[f"train_{kind}_s{scale}"]
            for part, name in (("train", NAME), ("val", OTHER)):
                path = out / f"label_{kind}_orig/{part}/scale_{scale}/{name}_{kind}.png"
                np.testing.assert_array_equal(read_bits(path), expected)
        np.testing.assert_array_equal(
            read_bits(out / f"label_{kind}_orig/test/{TESTED}_{kind}.png"),
            sbd_golden[f"train_{kind}_s1"],
        )
        for mode in ("thin", "raw"):
            for name in (NAME, OTHER, TESTED):
                path = out / f"gt_eval/gt_{mode}/{kind}/{name}.png"
                np.testing.assert_array_equal(read_bits(path), sbd_golden[f"{mode}_{kind}"])


def test_labels_of_the_real_files_are_the_published_ones(shared, sbd_golden):
    folder = shared / "samples/sbd/dataset"
    ground_truth = read_sbd_ground_truth(folder / f"cls/{NAME}.mat", folder / f"inst/{NAME}.mat")
    for kind in ("inst", "cls"):
        options = {"instance_sensitive": kind == "inst"}
        for scale in (0.5, 1):
            np.testing.assert_array_equal(
                ground_truth.training_edges(scale, **options), sbd_golden[f"train_{kind}_s{scale}"]
            )
        for mode in ("thin", "raw"):
            np.testing.assert_array_equal(
                ground_truth.evaluation_edges(thin=mode == "thin", **options),
                sbd_golden[f"{mode}_{kind}"],
            )
    sample = SBD(shared / "samples/sbd", "test")[0]
    assert sample.name == NAME and sample.image.shape == (371, 500, 3)
    np.testing.assert_array_equal(sample.label, ground_truth.instance_class)


def test_published_lists(sbd_root, tmp_path):
    out = tmp_path / "out"
    run(sbd_root, out)

    def lines(name):
        return (out / f"{name}.txt").read_text().splitlines()

    scales = ("0.5", "0.75", "1", "1.25", "1.5")

    def rows(part, name, kind="inst", chosen=scales):
        return [
            f"/image/{part}/scale_{s}/{name}.png "
            f"/label_{kind}_orig/{part}/scale_{s}/{name}_{kind}.png"
            for s in chosen
        ]

    tested = f"/image/test/{TESTED}.png /label_inst_orig/test/{TESTED}_inst.png"
    assert lines("trainaug_inst_orig") == rows("train", NAME)
    assert lines("trainvalaug_inst_orig") == rows("train", NAME) + rows("val", OTHER)
    assert lines("trainvalaug_cls_orig") == rows("train", NAME, "cls") + rows("val", OTHER, "cls")
    assert lines("test_inst_orig") == [tested]
    assert lines("trainvaltest_inst_orig") == rows("train", NAME, chosen="1") + rows(
        "val", OTHER, chosen="1"
    ) + [tested]
    assert lines("val") == [f"/image/val/scale_1/{OTHER}.png"] and lines("test") == [
        f"/image/test/{TESTED}.png"
    ]
    for name in ("trainvalaug_inst_orig", "trainaug_cls_orig", "test_cls_orig"):
        for line in lines(name):
            image, label = (out / path[1:] for path in line.split())
            assert read_image(image).shape == read_image(label).shape


def test_downloaded_data_set(sbd_root, tmp_path, sbd_golden):
    options = {"holdout": tmp_path / "held_out.txt"}
    names = {
        split: [r.name for r in SBD(sbd_root, split, **options).records]
        for split in ("train", "val", "trainval", "test")
    }
    assert names == {"train": [NAME], "val": [OTHER], "trainval": [NAME, OTHER], "test": [TESTED]}
    dataset = SBD(sbd_root, "trainval", **options)
    sample = dataset[0]
    np.testing.assert_array_equal(
        sample.label, np.where(sbd_golden["cls_seg"] > 0, sbd_golden["cls_seg"] - 1, 255)
    )
    np.testing.assert_array_equal(sample.instance, sbd_golden["inst_seg"])
    assert dataset.num_classes == 20 and dataset.palette.shape == (20, 3)
    for kind in ("inst", "cls"):
        for mode in ("thin", "raw"):
            found = dataset.edge_ground_truth(
                0, thin=mode == "thin", instance_sensitive=kind == "inst"
            )
            np.testing.assert_array_equal(found, sbd_golden[f"{mode}_{kind}"])
    assert dataset.edge_ground_truth(0, thin=True, scale=0.5).shape == (186, 250)
    run(sbd_root, tmp_path / "out")
    assert (
        require_edge_labels(tmp_path / "out", dataset)[1]
        == tmp_path / f"out/label_inst_orig/val/scale_1/{OTHER}_inst.png"
    )
    path = edge_label_path(
        tmp_path / "out",
        SBD(sbd_root, "test"),
        SBD(sbd_root, "test").records[0],
        instance_sensitive=False,
    )
    np.testing.assert_array_equal(read_bits(path), sbd_golden["train_cls_s1"])


def test_prepared_data_set(sbd_root, tmp_path, sbd_golden):
    out = tmp_path / "out"
    run(sbd_root, out, "--eval")
    sizes = {split: len(SBD(out, split)) for split in ("train", "val", "trainval", "test")}
    assert sizes == {"train": 5, "val": 1, "trainval": 10, "test": 1}
    train = SBD(out, "train")
    assert [record.name for record in train.records[:3]] == [
        f"{NAME}_scale_0.5",
        f"{NAME}_scale_0.75",
        NAME,
    ]
    sample = train[0]
    assert sample.image.shape == (186, 250, 3) and sample.label is None and sample.instance is None
    np.testing.assert_array_equal(
        read_bits(require_edge_labels(out, train)[0]), sbd_golden["train_inst_s0.5"]
    )
    path = edge_label_path(out, train, train.records[2], instance_sensitive=False)
    np.testing.assert_array_equal(read_bits(path), sbd_golden["train_cls_s1"])
    np.testing.assert_array_equal(
        SBD(out, "test").edge_ground_truth(0, thin=True), sbd_golden["thin_inst"]
    )
    with pytest.raises(FileNotFoundError, match="at scale 1 only"):
        SBD(out, "test").edge_ground_truth(0, thin=True, scale=0.5)
    (out / f"label_inst_orig/test/{TESTED}_inst.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2 files are missing"):
        SBD(out, "test")


def test_class_edges_alone(sbd_root, tmp_path, sbd_golden):
    run(sbd_root, tmp_path / "out", "--no-instance", "--eval")
    assert not list((tmp_path / "out").rglob("*_inst*.png"))
    dataset = SBD(tmp_path / "out", "val")
    path = edge_label_path(tmp_path / "out", dataset, dataset.records[0], instance_sensitive=False)
    np.testing.assert_array_equal(read_bits(path), sbd_golden["train_cls_s1"])


def test_held_out_images(tmp_path):
    names = [f"n{k}" for k in range(8498)]
    drawn = draw_holdout(names)
    assert len(drawn) == 1000 == len(set(drawn)) and drawn == draw_holdout(names) != draw_holdout(
        names, seed=1
    )
    assert len(draw_holdout(names[:80])) == 10
    chosen = np.zeros((9000, 1), bool)
    chosen[[3, 5]] = True
    scipy.io.savemat(tmp_path / "seed.mat", {"valSet": chosen})
    assert read_holdout(tmp_path / "seed.mat", names) == ["n3", "n5"]
    scipy.io.savemat(tmp_path / "seed.mat", {"valSet": chosen[:10]})
    with pytest.raises(InputError, match="has 10 entries"):
        read_holdout(tmp_path / "seed.mat", names)
    (tmp_path / "list.txt").write_text("n3\nelse\n")
    with pytest.raises(InputError, match=r"else and 0 more are not in SBD's train.txt"):
        read_holdout(tmp_path / "list.txt", names)


def test_mat_and_images(sbd_root, tmp_path, sbd_golden):
    run(sbd_root, tmp_path / "out", "--mat", "--visualize", "--eval", "--scales", 1)
    stored = scipy.io.loadmat(tmp_path / f"out/label_inst_orig/train/scale_1/{NAME}.mat")[
        "labelEdge"
    ]
    np.testing.assert_array_equal(
        pack(np.stack([one.toarray() != 0 for one in stored.ravel()])), sbd_golden["train_inst_s1"]
    )
    ground_truth = scipy.io.loadmat(tmp_path / f"out/gt_eval/gt_raw/inst/{NAME}.mat")["GTinst"][
        0, 0
    ]
    np.testing.assert_array_equal(ground_truth["Segmentation"], sbd_golden["inst_seg"])
    assert ground_truth["Categories"].ravel().tolist() == sbd_golden["categories"].tolist()
    rows = scipy.io.loadmat(tmp_path / "out/trainaug_inst_orig.mat")["dataList"]
    assert rows[0, 1][0] == f"/label_inst_orig/train/scale_1/{NAME}.mat"
    assert (tmp_path / f"out/view/label_cls_orig/test/{TESTED}_cls.png").is_file()


def test_without_images(sbd_root, tmp_path, capsys):
    for path in (sbd_root / "dataset/img").iterdir():
        path.unlink()
    (sbd_root / "dataset/img").rmdir()
    assert run(sbd_root, tmp_path / "out") == 0
    assert "labels only" in capsys.readouterr().out
    assert not (tmp_path / "out/image").exists()


def test_broken_files_are_listed_and_the_rest_is_done(sbd_root, tmp_path, capsys):
    (sbd_root / f"dataset/inst/{NAME}.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    assert run(sbd_root, tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "2 made, 0 up to date, 1 failed" in said.out
    assert f"inst/{NAME}.mat: cannot be read as SBD's GTinst" in said.err
    with pytest.raises(InputError, match="cannot be read as SBD's GTinst"):
        SBD(sbd_root, "train", holdout=tmp_path / "held_out.txt")[0]


def test_files_that_does_not_fit_together(sbd_root, sbd_golden):
    wrong = {**sbd_golden, "categories": np.array([5, 5, 9, 15, 21], np.uint8)}
    write_ground_truth(sbd_root / "dataset", NAME, wrong)
    files = (sbd_root / f"dataset/cls/{NAME}.mat", sbd_root / f"dataset/inst/{NAME}.mat")
    with pytest.raises(InputError, match=r"Categories holds 21; expected .* from 1 to 20"):
        read_sbd_ground_truth(*files)
    write_ground_truth(
        sbd_root / "dataset", NAME, {**sbd_golden, "cls_seg": sbd_golden["cls_seg"][:-1]}
    )
    with pytest.raises(InputError, match=r"\(371, 500\).*\(370, 500\)"):
        read_sbd_ground_truth(*files)


def test_errors(sbd_root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"benchmark.tgz"):
        SBD(tmp_path / "nowhere", "test")
    with pytest.raises(InputError, match="no split 'dev'"):
        SBD(sbd_root, "dev")
    with pytest.raises(InputError, match="own folder"):
        run(sbd_root, sbd_root / "dataset")
    (sbd_root / f"dataset/img/{TESTED}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 files are missing"):
        SBD(sbd_root, "test")


def test_imresize_is_bicubic_with_antialiasing(rng):
    image = rng.integers(0, 256, (9, 14, 3)).astype(np.uint8)
    for scale in (0.5, 0.75, 1.25, 1.5):
        found = imresize(image, scale)
        assert found.shape == (int(np.ceil(9 * scale)), int(np.ceil(14 * scale)), 3)
        away = np.abs(found.astype(int) - slow_imresize(image, scale))
        assert (
            away.max() <= 1 and (away > 0).mean() < 0.01
        )  # sums that are a tie in theory may fall to either side
    assert (imresize(np.full((8, 8, 3), 77, np.uint8), 0.75) == 77).all()


def slow_imresize(image, scale):
    """The definition, one output at a time."""

    def kernel(x):
        x = abs(x)
        return (
            1.5 * x**3 - 2.5 * x**2 + 1
            if x <= 1
            else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            if x <= 2
            else 0
        )

    for axis in (0, 1):
        lines, stretch = np.moveaxis(image, axis, 0).astype(float), min(scale, 1)
        n, rows = len(lines), []
        for i in range(int(np.ceil(n * scale))):
            centre, total, weights = (i + 0.5) / scale - 0.5, 0, 0
            for j in range(
                int(np.floor(centre - 2 / stretch)) - 1, int(np.ceil(centre + 2 / stretch)) + 2
            ):
                weight, mirrored = (
                    kernel((centre - j) * stretch),
                    -j - 1 if j < 0 else 2 * n - 1 - j if j >= n else j,
                )
                total, weights = total + weight * lines[mirrored], weights + weight
            rows.append(total / weights)
        rounded = np.clip(np.floor(np.round(np.stack(rows), 9) + 0.5), 0, 255)
        image = np.moveaxis(rounded, 0, axis).astype(np.uint8)
    return image
