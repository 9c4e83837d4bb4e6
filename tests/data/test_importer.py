"""The importer's core: what is refused, written, kept, merged and resumed."""

import os
import shutil
import unicodedata
from unittest import mock

import numpy as np
import pytest
from helpers.exports import (
    box,
    class_ids,
    coco,
    coco_object,
    contents,
    dataset_json,
    instance_map,
    label_map,
    put_images,
    put_json,
    put_turned,
    run_import,
)
from PIL import Image

from data import build_dataset
from data.dataset_file import DatasetFile, LabelClass, read_dataset_file, write_dataset_file
from data.errors import InputError
from data.folder import split_names
from data.gtlabel import pool
from data.image_io import write_png
from data.importer.annotations import Annotations, Entry, FoundClass
from data.importer.images import ImageIndex
from data.importer.merge import merge_classes
from data.importer.plan import draw_nothing
from data.importer.splits import SplitChoice, decide_splits, place
from data.importer.write import count_classes

SQUARE = [box(1, 1, 4, 3)]
NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def work(tmp_path):
    """photos/ with four images, and a COCO file with a dog in each, the last one a cat's, too."""
    put_images(tmp_path / "photos", *NAMES)
    objects = [coco_object(k, SQUARE, image=k) for k in (1, 2, 3, 4)]
    objects.append(coco_object(5, [box(5, 4, 7, 6)], category=3, image=4))
    put_json(tmp_path / "coco.json", coco(*objects, names=NAMES))
    return tmp_path


def import_coco(work, *flags, source="coco.json", images="photos", out="out"):
    return run_import("coco", work / source, "--images", work / images, "--out", work / out, *flags)


def refused(work, reason, *flags, **places):
    """An import that is refused and changes nothing below the work folder."""
    before = contents(work)
    with pytest.raises((InputError, FileNotFoundError)) as raised:
        import_coco(work, *flags, **places)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert contents(work) == before


# --- what is written ---


def test_the_folder_is_read_as_a_data_set(work):
    assert import_coco(work, "--splits", "train=2", "val=1", "test=1") == 0
    dataset = build_dataset("folder", work / "out", "all", task="seg")
    assert dataset.classes == ("dog", "cat", "background")
    sample = dataset[3]
    expected = np.full((6, 8), 2)
    expected[1:3, 1:4], expected[4:6, 5:7] = 0, 1
    np.testing.assert_array_equal(sample.label, expected)
    sizes = [
        len(build_dataset("folder", work / "out", s).records) for s in ("train", "val", "test")
    ]
    assert sizes == [2, 1, 1]


def test_images_are_links_or_copies(work):
    assert import_coco(work) == 0
    assert (work / "out/images/a.png").samefile(work / "photos/a.png")
    assert import_coco(work, "--no-link", out="copies") == 0
    copy = work / "copies/images/a.png"
    assert not copy.samefile(work / "photos/a.png")
    assert copy.read_bytes() == (work / "photos/a.png").read_bytes()
    with mock.patch("os.link", side_effect=OSError(18, "Invalid cross-device link")):
        assert import_coco(work, out="elsewhere") == 0
    assert contents(work / "elsewhere") == contents(work / "out")


def test_worker_processes_write_the_same(work):
    assert import_coco(work) == 0
    assert import_coco(work, "--workers", 2, out="two") == 0
    assert contents(work / "two") == contents(work / "out")


def test_chosen_ignored_and_background_classes(work, capsys):
    assert import_coco(work, "--classes", "cat") == 0
    assert class_ids(work / "out") == {"cat": [1]}
    assert "labels not taken: dog (4)" in capsys.readouterr().out
    assert import_coco(work, "--ignored", "dog", "--background", "none", out="other") == 0
    label = label_map(work / "other", "d")
    assert sorted(np.unique(label)) == [0, 1, 255]
    # Ignored pixels belong to no object.
    np.testing.assert_array_equal(instance_map(work / "other", "d") > 0, label == 1)
    found = dataset_json(work / "other")
    assert "background" not in found
    assert found["none_ids"] == [0]
    assert import_coco(work, "--background", "cat", out="third") == 0
    assert class_ids(work / "third") == {"dog": [1]}
    assert dataset_json(work / "third")["background"]["name"] == "cat"
    assert sorted(np.unique(label_map(work / "third", "d"))) == [0, 1]


def test_images_without_annotation_are_kept_when_asked_for(work, capsys):
    put_images(work / "photos", "more/e.png")
    assert import_coco(work) == 0
    assert "1 images that no annotation names are left out" in capsys.readouterr().out
    assert import_coco(work, "--unlabelled", "keep") == 0
    said = capsys.readouterr().out
    empty = sum(not label_map(work / "out", name).any() for name in ("a", "b", "c", "d", "more/e"))
    assert empty and f"images without a pixel of any class: {empty}" in said
    assert not label_map(work / "out", "more/e").any()
    # The others have objects, so this one has a map without any.
    assert not instance_map(work / "out", "more/e").any()


def test_one_bad_image_among_good_ones(work, capsys):
    photo = work / "photos/b.png"
    photo.write_bytes(photo.read_bytes()[:-30])
    put_images(work / "photos", "c.png", size=(5, 8))
    (work / "photos/d.png").write_text("no image")
    assert import_coco(work) == 2
    said = capsys.readouterr()
    assert "1 made, 0 up to date, 3 failed" in said.out
    lines = said.err.splitlines()
    assert sum(line.startswith("failed: ") for line in lines) == 3
    assert "c.png: is 8x5, and its annotation says 8x6" in said.err
    assert sorted(contents(work / "out")) == [
        "dataset.json", "images/a.png", "instances/a.png", "labels/a.png",
    ]  # fmt: skip


# --- repeated and ended runs ---


def made_of(capsys):
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("images:"))


def test_only_what_is_missing_or_stale_is_made(work, capsys):
    assert import_coco(work) == 0
    assert made_of(capsys) == "images: 4 made, 0 up to date, 0 failed"
    before = contents(work / "out")
    (work / "out/labels/a.png").unlink()
    (work / "out/images/b.png").unlink()
    assert import_coco(work) == 0
    assert made_of(capsys) == "images: 2 made, 2 up to date, 0 failed"
    assert contents(work / "out") == before
    capsys.readouterr()
    assert import_coco(work) == 0
    assert made_of(capsys) == "images: 0 made, 4 up to date, 0 failed"
    # An object of one image, another one's pixels, a flag.
    put_images(work / "photos", "b.png")
    os.utime(work / "photos/b.png", (1, 1))
    objects = [
        coco_object(k, [box(0, 0, 2, 2)] if k == 1 else SQUARE, image=k) for k in (1, 2, 3, 4)
    ]
    objects.append(coco_object(5, [box(5, 4, 7, 6)], category=3, image=4))
    put_json(work / "coco.json", coco(*objects, names=NAMES))
    assert import_coco(work) == 0
    assert made_of(capsys) == "images: 2 made, 2 up to date, 0 failed"
    assert (label_map(work / "out", "a") == 1).sum() == 4
    assert import_coco(work, "--line-width", 3) == 0
    assert made_of(capsys) == "images: 4 made, 0 up to date, 0 failed"
    assert import_coco(work, "--line-width", 3, "--overwrite") == 0
    assert made_of(capsys) == "images: 4 made, 0 up to date, 0 failed"


def test_a_run_that_was_ended_is_resumed(work, capsys):
    assert import_coco(work, out="whole") == 0
    capsys.readouterr()
    attempts = []

    def ended(job):
        attempts.append(job.name)
        if len(attempts) == 3:
            raise KeyboardInterrupt
        return real(job)

    real = pool.attempt
    with mock.patch.object(pool, "attempt", ended), pytest.raises(KeyboardInterrupt):
        import_coco(work)
    assert not (work / "out/dataset.json").exists()
    with (work / "out/import-inputs.jsonl").open("a") as file:
        file.write('\n{"c": {"digest": "123')
    assert import_coco(work) == 0
    assert made_of(capsys) == "images: 2 made, 2 up to date, 0 failed"
    assert contents(work / "out") == contents(work / "whole")


def test_ids_colours_and_splits_of_dataset_json_stay(work):
    assert import_coco(work) == 0
    content = read_dataset_file(work / "out")
    dog, _ = content.classes
    edited = [LabelClass("cat", (1, 2, 3), (9,)), LabelClass("dog", dog.color, (1, 2))]
    write_dataset_file(
        work / "out", DatasetFile(tuple(edited), background=content.background, ignored=(255,),
                                  splits={"train": 0.5, "val": 0.5}, seed=7)
    )  # fmt: skip
    assert import_coco(work) == 0
    assert class_ids(work / "out") == {"cat": [9], "dog": [1, 2]}
    assert dataset_json(work / "out")["classes"][0]["color"] == [1, 2, 3]
    assert sorted(np.unique(label_map(work / "out", "d"))) == [0, 1, 9]
    assert dataset_json(work / "out")["splits"] == {"train": 0.5, "val": 0.5}
    # Afresh, if that is asked for, but no id gets another meaning.
    assert import_coco(work, "--overwrite") == 0
    assert class_ids(work / "out") == {"dog": [1], "cat": [9]}
    assert dataset_json(work / "out")["classes"][1]["color"] != [1, 2, 3]


def test_an_image_that_is_of_another_kind_now(work):
    assert import_coco(work) == 0
    Image.open(work / "photos/a.png").save(work / "photos/a.bmp")
    (work / "photos/a.png").unlink()
    assert import_coco(work) == 0
    assert sorted(path.name for path in (work / "out/images").iterdir())[0] == "a.bmp"
    assert not (work / "out/images/a.png").exists()


def test_images_of_an_earlier_run_stay(work, capsys):
    assert import_coco(work) == 0
    put_json(work / "coco.json", coco(coco_object(5, SQUARE, category=3), names=("a.png",)))
    assert import_coco(work) == 0
    assert "3 images of an earlier run are not among those of this one and stay: b, c, d" in (
        capsys.readouterr().out
    )
    # With the ids that they were drawn with.
    assert class_ids(work / "out") == {"dog": [1], "cat": [2]}
    assert sorted(np.unique(label_map(work / "out", "a"))) == [0, 2]


# --- several sources ---


def test_two_sources_become_two_splits(work):
    put_images(work / "more", "a.png", "z.png")
    other = coco(
        coco_object(1, [box(0, 0, 2, 2)], category=7),
        coco_object(2, [box(3, 3, 5, 5)], category=1, image=2),
        names=("a.png", "z.png"),
    )
    other["categories"] = [{"id": 7, "name": "bird"}, {"id": 1, "name": "cat"}]
    put_json(work / "other.json", other)
    assert import_coco(work, "--split", "train") == 0
    first = contents(work / "out")
    assert import_coco(work, "--split", "val", source="other.json", images="more") == 0
    out = work / "out"
    assert class_ids(out) == {"dog": [1], "cat": [2], "bird": [3]}
    assert dataset_json(out)["splits"] == {"train": ["train"], "val": ["val"]}
    assert sorted(np.unique(label_map(out, "val/a"))) == [0, 3]
    assert sorted(np.unique(label_map(out, "val/z"))) == [0, 2]
    now = contents(out)
    assert {name: now[name] for name in first if name != "dataset.json"} == {
        name: content for name, content in first.items() if name != "dataset.json"
    }
    dataset = build_dataset("folder", out, "val")
    assert [record.name for record in dataset.records] == ["val/a", "val/z"]
    # Either one can be repeated, and leaves the other as it is.
    assert import_coco(work, "--split", "train") == 0
    assert contents(out) == now


def test_a_second_source_needs_splits_and_names_of_its_own(work):
    shutil.copy(work / "coco.json", work / "other.json")
    assert import_coco(work) == 0
    refused(work, "give each of them a --split NAME from the start", source="other.json")
    assert import_coco(work, "--split", "train", out="two") == 0
    refused(work, "has an image train/a of", "--split", "train", source="other.json", out="two")


def test_what_zero_means_is_the_same_for_both_sources(work):
    shutil.copy(work / "coco.json", work / "other.json")
    assert import_coco(work, "--split", "train", "--background", "none") == 0
    refused(
        work, "is no class in --out so far, and the class 'background' in this source; give "
        "--background none", "--split", "val", source="other.json",
    )  # fmt: skip
    flags = ("--split", "val", "--background", "none")
    assert import_coco(work, *flags, source="other.json") == 0


def test_a_folder_without_its_dataset_json_takes_no_second_source(work):
    shutil.copy(work / "coco.json", work / "other.json")
    assert import_coco(work, "--split", "train") == 0
    (work / "out/dataset.json").unlink()
    refused(work, "run that import again first", "--split", "val", source="other.json")
    assert import_coco(work, "--split", "train") == 0
    assert import_coco(work, "--split", "val", source="other.json") == 0


def test_merged_ids_skip_those_that_are_taken():
    base = DatasetFile(
        (LabelClass("dog", (9, 9, 9), (1,)), LabelClass("tree", (8, 8, 8), (3,))),
        background=LabelClass("ground", (0, 0, 0), (0, 2)),
        none=(4,),
        ignored=(255,),
    )
    found = [
        FoundClass("bird"),
        FoundClass("dog", (1, 1, 1)),
        FoundClass("ground"),
        FoundClass("x"),
    ]
    merged = merge_classes(found, base, "ground", False)
    assert merged.table[[0, 1, 2, 3, 4, 255]].tolist() == [0, 5, 1, 0, 6, 255]
    assert [entry.name for entry in merged.content.classes] == ["dog", "tree", "bird", "x"]
    assert merged.content.classes[0].color == (9, 9, 9)
    assert len({entry.color for entry in merged.content.classes}) == 4
    with pytest.raises(InputError, match="more than 254 classes"):
        merge_classes([FoundClass(f"n{k}") for k in range(252)], base, "ground", False)


# --- splits ---


def test_shares_are_as_close_as_a_seed_makes_them(work):
    names = [f"photo {k}" for k in range(40)]
    content, notes = decide_splits(DatasetFile(()), names, None, SplitChoice(), None)
    assert not notes
    parts = [split_names(work, content, names, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [28, 6, 6]
    # More images: those that were there keep their splits.
    more = [*names, "new 1", "new 2"]
    later, _ = decide_splits(DatasetFile(()), more, None, SplitChoice(), content)
    assert later.seed == content.seed
    given, _ = decide_splits(DatasetFile(()), names, None, SplitChoice(seed=11), content)
    assert given.seed == 11
    _, notes = decide_splits(DatasetFile(()), names[:2], None, SplitChoice(), None)
    assert "of 2 images in all, none is in the splits" in notes[0]


def test_the_formats_own_splits_become_folders():
    placed = place(["a", "b", "c"], ["Training", None, "validation"], SplitChoice())
    assert placed.names == ("train/a", "b", "val/c")
    assert placed.folders == {"train": ("train",), "val": ("val",)}
    assert placed.notes == ("1 images are in no split",)
    shares = place(["a", "b"], ["x", "y"], SplitChoice(shares={"train": 1.0}))
    assert (shares.names, shares.folders) == (("a", "b"), None)
    assert "which --splits, --seed or --split-by replaces" in shares.notes[0]
    folders = place(["train/a", "valid/b", "train/c"], [None] * 3, SplitChoice())
    assert folders.names == ("train/a", "valid/b", "train/c")
    assert folders.folders == {"train": ("train",), "val": ("valid",)}
    assert place(["train/a", "b"], [None] * 2, SplitChoice()).folders is None
    with pytest.raises(InputError, match="cannot be the name of a split"):
        place(["a"], ["all"], SplitChoice())


def test_images_of_a_folder_stay_together(work):
    names = [f"{video}/{k}.png" for video in "uvwxyz" for k in range(3)]
    put_images(work / "videos", *names)
    objects = [coco_object(k, SQUARE, image=k) for k in range(1, 19)]
    put_json(work / "videos.json", coco(*objects, names=tuple(names)))
    assert import_coco(work, "--split-by", "folder", source="videos.json", images="videos") == 0
    for split in ("train", "val", "test"):
        found = [r.name[0] for r in build_dataset("folder", work / "out", split).records]
        assert found and all(found.count(video) == 3 for video in found)


# --- EXIF ---


def exif_import(work, *flags, **stated):
    """Images stored as 6 rows of 8; each has the orientation and the stated (H, W)."""
    images = []
    for number, (name, (orientation, size)) in enumerate(stated.items(), start=1):
        put_turned(work / f"exif/{name}.jpg", (6, 8), orientation)
        image = {"id": number, "file_name": f"{name}.jpg"}
        images.append({**image, "height": size[0], "width": size[1]} if size else image)
    content = coco(coco_object(1, [box(0, 0, 2, 1)]))
    content["images"] = images
    put_json(work / "exif.json", content)
    return import_coco(work, *flags, source="exif.json", images="exif")


def test_a_size_that_fits_the_turned_image_only(work):
    assert exif_import(work, a=(6, (8, 6)), b=(1, (6, 8))) == 0
    assert dataset_json(work / "out")["upright"] is True
    assert label_map(work / "out", "a").shape == (8, 6)
    assert label_map(work / "out", "b").shape == (6, 8)
    assert build_dataset("folder", work / "out", "all")[0].image.shape == (8, 6, 3)


def test_a_size_that_fits_the_stored_image_only(work, capsys):
    assert exif_import(work, a=(6, (6, 8)), b=(3, None)) == 0
    assert dataset_json(work / "out")["upright"] is False
    assert "do not say whether they are drawn on those: taken as stored" in capsys.readouterr().out


def test_both_kinds_in_one_import(work, capsys):
    with pytest.raises(InputError) as raised:
        exif_import(work, a=(6, (8, 6)), b=(8, (6, 8)))
    assert "a.jpg is annotated as its EXIF data turn it, and" in str(raised.value)
    assert "b.jpg as it is stored; give --upright or --no-upright" in str(raised.value)
    assert not (work / "out").exists()
    assert exif_import(work, "--upright", a=(6, (8, 6)), b=(8, (6, 8))) == 2
    assert "b.jpg: is 6x8, and its annotation says 8x6" in capsys.readouterr().err
    assert dataset_json(work / "out")["upright"] is True
    assert not (work / "out/images/b.jpg").exists()


# --- names ---


def test_names_as_tools_write_them(work):
    cafe = unicodedata.normalize("NFD", "café été")
    put_images(work / "odd", "one/my photo.png", "two/x.png", f"{cafe}.png", "v1.2.png")
    put_images(work / "odd", "three/x.png", "y.png", "per%20cent.png")
    written = (
        "C:\\Users\\Me\\one\\my photo.png",
        "/home/me/data/two/x.png",
        "http://server:8080/media/three/x.png?d=1",
        unicodedata.normalize("NFC", cafe) + ".png",
        "file:///data/one/y.jpg",
        "v1.2",
        "per%20cent.png",
    )
    objects = [coco_object(k, SQUARE, image=k) for k in range(1, len(written) + 1)]
    put_json(work / "odd.json", coco(*objects, names=written))
    assert import_coco(work, source="odd.json", images="odd") == 0
    names = sorted(
        path.relative_to(work / "out/labels").as_posix()
        for path in (work / "out/labels").rglob("*.png")
    )
    assert names == sorted([
        "one/my photo.png", "two/x.png", "three/x.png", "café été.png", "y.png", "v1.2.png",
        "per%20cent.png",
    ])  # fmt: skip
    assert len(build_dataset("folder", work / "out", "all").records) == 7


def test_a_name_that_two_images_could_have(work):
    put_images(work / "twice", "one/a.png", "two/a.png")
    put_json(work / "twice.json", coco(coco_object(1, SQUARE), names=("photos/a.png",)))
    refused(work, "one/a.png and", source="twice.json", images="twice")
    index = ImageIndex(work / "twice")
    assert index.find("x/two/a.png").name == "two/a"
    assert index.find("nothing.png") is None


def test_two_images_that_differ_by_their_endings(work):
    Image.open(work / "photos/a.png").save(work / "photos/a.jpg")
    content = coco(coco_object(1, SQUARE), names=("a.png", "a.jpg"))
    put_json(work / "endings.json", content)
    refused(work, "would both be written as a", source="endings.json")


# --- what is refused ---


def test_folders_that_an_import_may_not_write_to(work):
    refused(work, "is also --images", out="photos")
    put_images(work / "mine", "x.png")
    refused(work, "has 1 files that no importer wrote, such as x.png", out="mine")
    refused(work, "is also SOURCE", out="coco.json")
    (work / "text").write_text("x")
    refused(work, "is a file; expected a folder", out="text")
    assert import_coco(work) == 0
    refused(work, "lies in what --out holds", images="out/images")
    write_png(work / "out/labels/more.png", np.zeros((6, 8), np.uint8))
    put_images(work / "photos", "more.png")
    refused(work, "more.png: would be replaced, but no importer wrote it", "--unlabelled", "keep")
    (work / "out/import.json").write_text("{}")
    refused(work, "import.json: is no file of the importer")


def test_too_little_space(work):
    usage = shutil.disk_usage(work)._replace(free=1000)
    with mock.patch("shutil.disk_usage", return_value=usage):
        refused(work, "4 images with labels needs")


def test_flags_that_contradict_the_source_or_each_other(work):
    refused(work, "has no label 'cow' (--classes); it has dog, cat", "--classes", "cow")
    refused(work, "has no label 'cow' (--ignored)", "--ignored", "cow")
    refused(work, "'dog' is there twice", "--classes", "dog", "dog")
    refused(work, "or also in --ignored", "--classes", "dog", "--ignored", "dog")
    refused(work, "leave out --splits", "--split", "train", "--seed", "3")
    refused(work, "names a split twice", "--splits", "train=1", "train=2")
    refused(work, "cannot be the name of a split", "--split", "all")
    refused(work, "gone.json: no such", source="gone.json")
    refused(work, "no such folder", images="gone")
    put_json(work / "palette.json", {"dog": [1, 2, 300]})
    refused(work, "[1, 2, 300] is no colour", "--palette", work / "palette.json")
    put_json(work / "names.json", {"dog": -1})
    refused(work, "expected an id", "--class-names", work / "names.json")
    with pytest.raises(InputError, match="--images DIR is needed"):
        run_import("coco", work / "coco.json", "--out", work / "out")


@pytest.mark.parametrize("flags", [("--splits", "train"), ("--splits", "train=0"), ("--seed", "x")])
def test_flags_without_sense(work, flags, capsys):
    with pytest.raises(SystemExit) as ended:
        import_coco(work, *flags)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_image_is_there(work):
    put_images(work / "others", "x.png")
    refused(work, "no image can be imported: 4 images that are annotated", images="others")


# --- label maps that stay as they are ---


@pytest.fixture
def present(work):
    """A folder that has images/ and labels/ already, and a reader that takes them as they are."""
    out = work / "here"
    put_images(out / "images", *NAMES)
    for name in NAMES:
        write_png(out / "labels" / name, np.full((6, 8), 7, np.uint8))
    classes = (LabelClass("road", (1, 2, 3), (7,)), LabelClass("rest", (0, 0, 0), (0,)))

    def read(source, options):
        assert options.in_place
        index = ImageIndex(options.images)
        entries = [Entry(*index.found(path), draw_nothing) for path in index.files]
        return Annotations((), entries, dataset_file=DatasetFile(classes, ignored=(255,)))

    with mock.patch("data.importer.in_place.reader_of", return_value=read):
        yield out


def test_only_dataset_json_is_written_in_place(present):
    before = contents(present)
    words = ("ids", present / "labels", "--images", present / "images", "--out", present)
    assert run_import(*words, "--background", "rest") == 0
    after = contents(present)
    assert {name for name in after if name not in before} == {"dataset.json"}
    assert {name: after[name] for name in before} == before
    assert class_ids(present) == {"road": [7]}
    assert dataset_json(present)["background"]["ids"] == [0]
    with pytest.raises(InputError, match=r"is there already; give --overwrite"):
        run_import(*words)
    assert run_import(*words, "--overwrite") == 0
    assert class_ids(present) == {"road": [7], "rest": [0]}
    with pytest.raises(InputError, match="--split would move images"):
        run_import(*words, "--overwrite", "--split", "train")


@pytest.mark.parametrize("most", [3, 40000])
def test_objects_and_pixels_are_counted_as_by_a_loop(rng, most):
    label = rng.integers(0, 4, (9, 11)).astype(np.uint8)
    label[0, 0] = 255
    instance = rng.choice([0, 1, 2, most], (9, 11)).astype(np.uint16)
    expected = {}
    for number in (1, 2, 3):
        inside = label == number
        expected[number] = (len(set(instance[inside].tolist()) - {0}), int(inside.sum()))
    assert count_classes(label, instance) == expected
    assert count_classes(label, None) == {k: (0, pixels) for k, (_, pixels) in expected.items()}


# --- ids, and other imports ---


def what_is(out, name):
    """The classes of an image by dataset.json."""
    names = {i: entry["name"] for entry in dataset_json(out)["classes"] for i in entry["ids"]}
    return {names[value] for value in np.unique(label_map(out, name)).tolist() if value}


def test_images_that_stay_keep_their_classes_under_overwrite(work, capsys):
    """One is gone from the source, one cannot be drawn any more, and the classes have moved."""
    assert import_coco(work) == 0
    before = {name[0]: what_is(work / "out", name[0]) for name in NAMES}
    assert before == {"a": {"dog"}, "b": {"dog"}, "c": {"dog"}, "d": {"dog", "cat"}}
    content = coco(
        coco_object(1, [[1, 2]], image=1), coco_object(2, SQUARE, image=2),
        coco_object(3, SQUARE, category=3, image=3), names=NAMES[:3],
    )  # fmt: skip
    content["categories"].reverse()
    put_json(work / "coco.json", content)
    assert import_coco(work, "--overwrite") == 2
    assert "1 images of an earlier run are not among those of this one" in capsys.readouterr().out
    after = {name[0]: what_is(work / "out", name[0]) for name in NAMES}
    assert after == {**before, "c": {"cat"}}
    assert list(class_ids(work / "out")) == ["cat", "dog"]


def test_a_second_import_at_the_same_time_is_refused(work):
    import fcntl

    (work / "out").mkdir()
    descriptor = os.open(work / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        refused(work, "another import is writing into it; wait until it has ended")
    finally:
        os.close(descriptor)
    assert import_coco(work) == 0


def test_new_ids_are_said_before_maps_have_them(work):
    """Else an import of another source could give them to classes of its own."""
    assert import_coco(work, "--split", "train", "--classes", "cat") == 0

    def ended(job):
        raise KeyboardInterrupt

    content = coco(coco_object(1, SQUARE), names=NAMES[:1])
    put_json(work / "more.json", content)
    with mock.patch.object(pool, "attempt", ended), pytest.raises(KeyboardInterrupt):
        import_coco(work, "--split", "val", source="more.json")
    assert {"cat", "dog"} == set(class_ids(work / "out"))


def test_inspecting_an_import_that_was_ended(work):
    def ended(job):
        raise KeyboardInterrupt

    with mock.patch.object(pool, "attempt", ended), pytest.raises(KeyboardInterrupt):
        import_coco(work)
    with pytest.raises(FileNotFoundError, match="an import into it has not ended; run the same"):
        read_dataset_file(work / "out")


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 3}',
        "[1]",
        '{"a": {"digest": 1}}',
        '{"a": {"digest": "x", "image": 5}}',
        '{"a": {"notes": 3}}',
        '{"a": {"classes": {"x": 1}}}',
    ],
)
def test_damaged_records_make_their_image_again(work, capsys, line):
    assert import_coco(work) == 0
    with (work / "out/import-inputs.jsonl").open("a") as file:
        file.write(f"\n{line}\n")
    assert import_coco(work) == 0
    assert " 0 failed" in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_label_is_said(work, capsys):
    assert import_coco(work) == 0
    (work / "out/labels/a.png").unlink()
    (work / "out/labels/a.png").mkdir()
    assert import_coco(work) == 2
    assert "labels/a.png: Is a directory" in capsys.readouterr().err


def test_why_there_is_no_class(work):
    put_json(
        work / "tasks.json",
        [{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [
            {"type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["nose"]}}]}]}],
    )  # fmt: skip
    with pytest.raises(
        InputError, match=r"there are no classes: .*\(1 regions of type .*line-width"
    ):
        run_import("labelstudio", work / "tasks.json", "--images", work / "photos",
                   "--out", work / "out")  # fmt: skip
