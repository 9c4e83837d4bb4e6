"""What python -m utils.compare refuses, in a line that says what differs, or leaves out."""

import json
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from helpers.compare import CLASSES, compare, draw_edge_counts, draw_maps, write_edges, write_labels

from data.errors import InputError, run
from utils.compare.names import column_names, own_names

QUICK = ("--samples", 100, "--metric", "ods")


@pytest.fixture
def counts(rng):
    return [draw_edge_counts(rng, skill, images=6) for skill in (0.7, 0.75)]


@pytest.fixture
def first(tmp_path, counts):
    return write_edges(tmp_path / "a", counts[0])


def refusal(*flags: object) -> str:
    """The message of the InputError."""
    with pytest.raises(InputError) as caught:
        compare(*flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_metrics(folder: Path, change) -> None:
    document = json.loads((folder / "metrics.json").read_text())
    change(document)
    (folder / "metrics.json").write_text(json.dumps(document))


def test_all_knobs_that_differ_are_listed(first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1], scale=0.5, margin=5, instance=None)
    change_metrics(second, lambda document: document["protocol"].update(max_dist=0.0075))
    said = refusal(first, second, *QUICK)
    assert "max. distance (a: 0.02, b: 0.0075)" in said
    assert "scale (a: 1, b: 0.5)" in said
    assert "margin (a: 0, b: 5)" in said
    assert "instance (a: yes, b: none)" in said
    assert "thresholds" not in said


def test_the_distance_is_one_knob(first, counts, tmp_path):
    """Fractions of the diagonal are one entry of metrics.json, pixels are another."""
    second = write_edges(tmp_path / "b", counts[1])
    third = write_edges(tmp_path / "c", counts[1])
    change_metrics(second, lambda document: document["protocol"].update(max_dist=0.0075))
    pixels = {"max_dist": None, "max_dist_px": 3.0}
    change_metrics(third, lambda document: document["protocol"].update(pixels))
    said = refusal(first, second, third, *QUICK)
    assert said.endswith("these differ: max. distance (a: 0.02, b: 0.0075, c: 3 px)")
    change_metrics(second, lambda document: document["protocol"].update(pixels))
    compare(second, third, *QUICK)


def test_a_knob_that_only_one_states(first, counts, tmp_path):
    """Null has no effect, and so is as good as not stated; anything else is not."""
    second = write_edges(tmp_path / "b", counts[1])
    change_metrics(second, lambda document: document["protocol"].update(pixels=None))
    compare(first, second, *QUICK)
    change_metrics(second, lambda document: document["protocol"].update(pixels=3))
    assert "these differ: pixels (a: not stated, b: 3)" in refusal(first, second, *QUICK)


def test_the_protocols_name_alone_does_not_matter(first, counts, tmp_path, capsys):
    second = write_edges(tmp_path / "b", counts[1])
    change_metrics(second, lambda document: document["protocol"].update(name="seal"))
    compare(first, second, *QUICK)
    assert "thin: MF (ODS)" in capsys.readouterr().out


def test_what_else_was_measured_does_not_matter(first, counts, tmp_path, capsys):
    """A mode more, and the calibration, stand in the protocol where they were asked for."""
    second = write_edges(tmp_path / "b", counts[1])
    change_metrics(second, lambda document: document["protocol"].update(calibration=True))
    change_metrics(second, lambda document: document["protocol"].update(crisp=True))
    compare(first, second, *QUICK)
    assert "crisp" not in capsys.readouterr().out


def test_thresholds_data_set_and_split(first, tmp_path, rng):
    counts = draw_edge_counts(rng, 0.7, images=6, thresholds=5)
    second = write_edges(tmp_path / "b", counts, source={"dataset": "bdd", "split": "val"})
    said = refusal(first, second, *QUICK)
    assert "thresholds (a: 9, b: 5)" in said
    assert "dataset (a: camvid, b: bdd)" in said
    assert "split (a: test, b: val)" in said


def test_results_of_label_files_name_no_data_set(first, counts, tmp_path, capsys):
    second = write_edges(tmp_path / "b", counts[1])

    def forget(document: dict) -> None:
        del document["source"]["dataset"], document["source"]["split"]

    change_metrics(second, forget)
    compare(first, second, *QUICK)
    assert capsys.readouterr().out.startswith("camvid test, ")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("road", "car", "person", "bike"), "classes (a: 4, with rider, b: 4, with bike)"),
        (
            ("car", "road", "person", "rider"),
            "classes (a: 4 in the order road, car, person, …, b: 4 in the order car, road, ",
        ),
    ],
)
def test_classes(names, words, first, counts, tmp_path):
    assert words in refusal(first, write_edges(tmp_path / "b", counts[1], classes=names), *QUICK)


def test_fewer_classes(first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1][:, :, :2], classes=CLASSES[:2])
    said = refusal(first, second, *QUICK)
    assert "classes (a: 4, with person, rider, b: 2)" in said


def test_tasks(first, tmp_path, rng):
    second = write_labels(tmp_path / "b", draw_maps(rng, 0.1))
    said = refusal(first, second)
    assert said == "the results cannot be compared, these differ: task (a: edge, b: seg)"


def test_images_differ_and_common_ones_are_compared(counts, tmp_path, capsys):
    names = [f"image{i}" for i in range(6)]
    first = write_edges(tmp_path / "a", counts[0], names=names)
    rows = [5, 3, 1, 2]  # in another order, too
    second = write_edges(tmp_path / "b", counts[1][rows], names=[names[i] for i in rows])
    said = refusal(first, second, *QUICK)
    assert "images (a: 2 of 6 that not all have, such as image0, image4)" in said
    assert "--common compares the 4 that all have" in said
    compare(first, second, *QUICK, "--common", "--out", tmp_path / "out")
    captured = capsys.readouterr()
    assert "note: 2 of the 6 images of a left out" in captured.err
    assert "over 4 images" in captured.out
    kept = sorted(rows)
    third = write_edges(tmp_path / "c/a", counts[0][kept], names=[names[i] for i in kept])
    fourth = write_edges(tmp_path / "c/b", counts[1][kept], names=[names[i] for i in kept])
    compare(third, fourth, *QUICK, "--out", tmp_path / "again")
    texts = [(tmp_path / name / "compare.csv").read_text() for name in ("out", "again")]
    assert texts[0] == texts[1]


def test_no_image_in_common(counts, tmp_path):
    folders = [
        write_edges(tmp_path / name, c, names=[f"{name}{i}" for i in range(6)])
        for name, c in zip("ab", counts, strict=True)
    ]
    said = refusal(*folders, *QUICK, "--common")
    assert said.endswith("these differ: no image in common, such as (a: a0, b: b0)")


def test_another_ground_truth_with_the_same_names(first, counts, tmp_path):
    counts[1][2, 1, 1] += 1
    second = write_edges(tmp_path / "b", counts[1])
    said = refusal(first, second, *QUICK)
    true = counts[0][2, 1, 1, 0, 1]
    assert "the ground truth of 1 image differs, such as image002, class car" in said
    assert f"{true} true pixels for a and {true + 1} for b" in said


def test_modes_that_not_all_have_are_left_out(first, counts, tmp_path, capsys):
    second = write_edges(tmp_path / "b", counts[1][:, 1:], thin=False)
    compare(first, second, *QUICK)
    captured = capsys.readouterr()
    assert captured.err == "note: modes that not all have are left out: thin, of a\n"
    assert "raw: MF" in captured.out
    assert "thin: MF" not in captured.out
    third = write_edges(tmp_path / "c", counts[1][:, :1], raw=False)
    assert "modes (b: raw, c: thin)" in refusal(second, third, *QUICK)


def test_a_mode_and_arrays_that_are_not_known_here(counts, tmp_path, capsys):
    """Other modes are compared by their names; other arrays are not looked at."""
    for name, each in zip("ab", counts, strict=True):
        folder = write_edges(tmp_path / name, each)

        def rename(document: dict) -> None:
            document["protocol"]["modes"] = ["thin", "crisp"]
            document["scores"]["crisp"] = document["scores"].pop("raw")
            document["scores"]["calibration"] = [1, 2]

        change_metrics(folder, rename)
        arrays = dict(np.load(folder / "counts.npz")) | {"histograms": np.ones(3)}
        np.savez(folder / "counts.npz", **arrays)
    compare(tmp_path / "a", tmp_path / "b", *QUICK)
    assert "crisp: MF (ODS)" in capsys.readouterr().out


def test_bounds_that_not_all_have_are_left_out(tmp_path, rng, capsys):
    first = write_labels(tmp_path / "a", draw_maps(rng, 0.1), (3.0, 5.0, 0.02))
    second = write_labels(tmp_path / "b", draw_maps(rng, 0.2), (5.0, 0.02))
    compare(first, second, "--samples", 100)
    captured = capsys.readouterr()
    assert captured.err == "note: bounds that not all have are left out: 3, of a\n"
    assert "boundary F as published, 5 px" in captured.out
    assert "--bound 3: the results have 5, 0.02" in refusal(first, second, "--bound", 3)


# --- options of the net, which are no part of the protocol ---

WHOLE = {"checkpoint": "x.pth", "base_size": 0, "window": None, "overlap": 1 / 3, "quirks": False,
         "scales": [1.0], "mirror": False, "batch_size": 1, "half": False}  # fmt: skip
DIFFERENT = "made with different options, which are no part of the protocol: "


def option_notes_of(folder: Path, counts: list, *sources: dict) -> list[str]:
    """What compare says of edge results with these entries in `source`; a, b, ... are their names.

    The same on stderr, in compare.json and in compare.html.
    """
    folders = [
        write_edges(folder / name, counts[0], source=source)
        for name, source in zip("abc", sources, strict=False)
    ]
    compare(*folders, *QUICK, "--out", folder / "out")
    notes = json.loads((folder / "out/compare.json").read_text())["notes"]
    page = unescape((folder / "out/compare.html").read_text())
    assert all(note in page for note in notes)
    return notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mirror": True}, "mirror (a: no, b: yes)"),
        ({"scales": [0.5, 1.0, 2.0]}, "scales (a: 1, b: 0.5 1 2)"),
        ({"window": 832}, "window (a: none, b: 832)"),
        ({"base_size": 960}, "base size (a: as the image is, b: 960)"),
        ({"half": True}, "precision (a: 32 bits, b: 16 bits)"),
        ({"temperature": 0.4228}, "temperature (a: 1, b: 0.4228)"),
        ({"temperature": [0.5, 1.25]}, "temperature (a: 1, b: of each class 0.5 1.25)"),
        ({"engine": "openvino", "mirror": True},
         "mirror (a: no, b: yes), engine (a: torch, b: openvino)"),
        ({"scales": {"by": "hand"}}, 'scales (a: 1, b: {"by": "hand"})'),
        ({"mirror": None}, "mirror (a: no, b: none)"),
        ({"scales": "\x1b[31m\n"}, r"scales (a: 1, b: '\x1b[31m\n')"),
    ],
)  # fmt: skip
def test_other_options_are_compared_and_said(change, words, counts, tmp_path, capsys):
    assert option_notes_of(tmp_path, counts, WHOLE, WHOLE | change) == [DIFFERENT + words]
    assert f"note: {DIFFERENT}{words}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "y.onnx", "sha256": "12", "model": "casenet", "backbone": "resnet50"},
        {"variant": "hard", "batch_size": 4},
        {"overlap": 0.5, "quirks": True},  # without windows they do nothing
        {"temperature": 1.0, "engine": "torch"},  # as where it is not stated
        {"scales": [1]},
    ],
)
def test_what_is_no_other_option(change, counts, tmp_path):
    assert option_notes_of(tmp_path, counts, WHOLE, WHOLE | change) == []


def test_options_that_are_not_stated(counts, tmp_path):
    """By an older version, and by files of predictions."""
    windows = WHOLE | {"window": 64}
    older = {name: value for name, value in windows.items() if name not in ("mirror", "quirks")}
    notes = option_notes_of(tmp_path, counts, windows, older, {"predictions": "maps"})
    assert notes == [
        f"{DIFFERENT}quirks (a: no, b: not stated), mirror (a: no, b: not stated)",
        "c does not say with what options the net was run",
    ]
    assert option_notes_of(tmp_path / "files", counts, {}, {"predictions": "maps"}) == []


# --- folders and files ---


def test_a_folder_of_folders_of_results(counts, tmp_path):
    for name in ("max-dist-0.02", "max-dist-0.0075"):
        write_edges(tmp_path / "many" / name, counts[0])
    said = refusal(tmp_path / "many", tmp_path / "many/max-dist-0.02", *QUICK)
    many = tmp_path / "many"
    assert "many: has no metrics.json, but 2 of its folders have one" in said
    assert f"{many}/max-dist-0.0075, {many}/max-dist-0.02; give one of these" in said


def test_what_is_no_folder_of_results(first, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder of results"):
        compare(first, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: has no metrics.json; expected"):
        compare(first, tmp_path / "empty")
    assert "is a file; expected a folder" in refusal(first, first / "metrics.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "is no metrics.json of test.py"),
        ("{}", "is no metrics.json of test.py"),
        ('{"task": "depth", "protocol": {}, "source": {}, "scores": {"classes": [], "miou": 1}}',
         "is no metrics.json of test.py"),
        ('{"task": "edge", "protocol": {"modes": []}, "source": {}, "scores": {}}',
         "is no metrics.json of test.py"),
        ('{"task": "edge", "protocol": {"modes": 3}, "source": {}, "scores": {}}',
         "is no metrics.json of test.py"),
        ('{"task": "edge", "protocol": {"modes": ["thin"], "thresholds": 9}, "source": {}, '
         '"scores": {"thin": {"mean": {"ods": "x"}, "classes": [{"name": "car"}]}}}',
         "is no metrics.json of test.py"),
    ],
)  # fmt: skip
def test_damaged_metrics(text, words, first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1])
    (second / "metrics.json").write_text(text)
    assert words in refusal(first, second)


def no_counts(arrays: dict) -> None:
    del arrays["counts"]


def too_few_names(arrays: dict) -> None:
    arrays["names"] = arrays["names"][1:]


def one_name_twice(arrays: dict) -> None:
    arrays["names"][1] = arrays["names"][0]


def fractions(arrays: dict) -> None:
    arrays["counts"] = arrays["counts"] / 2


def more_matched_than_true(arrays: dict) -> None:
    arrays["counts"][0, 0, 0, 0, 0] = arrays["counts"][0, 0, 0, 0, 1] + 1


def below_zero(arrays: dict) -> None:
    arrays["counts"][0, 0, 0, 0, 0] = -1


def numbers_for_names(arrays: dict) -> None:
    arrays["names"] = np.arange(6)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_counts, "counts.npz: has no array counts; score again with test.py"),
        (too_few_names, "counts is int32 (6, 2, 4, 9, 4), and by metrics.json integers (5, "),
        (one_name_twice, "1 names occur twice, such as image000"),
        (fractions, "counts is float64 (6, 2, 4, 9, 4), and by metrics.json integers"),
        (more_matched_than_true, "has numbers of pixels that cannot be"),
        (below_zero, "has numbers of pixels that cannot be"),
        (numbers_for_names, "its names are no names of images"),
    ],
)
def test_damaged_counts(damage, words, first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1])
    arrays = dict(np.load(second / "counts.npz"))
    damage(arrays)
    np.savez(second / "counts.npz", **arrays)
    said = refusal(first, second)
    assert words in said
    assert str(second / "counts.npz") in said


def test_counts_that_are_no_archive_or_not_there(first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1])
    (second / "counts.npz").write_bytes(b"text")
    assert "counts.npz: the file cannot be read" in refusal(first, second)
    (second / "counts.npz").unlink()
    with pytest.raises(FileNotFoundError, match="is not there, and intervals need it; score again"):
        compare(first, second)


def test_counts_of_another_run(first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1])
    (second / "counts.npz").write_bytes((first / "counts.npz").read_bytes())
    assert "they are of two runs, score again with test.py" in refusal(first, second)
    labels = [write_labels(tmp_path / f"s{i}", draw_maps(np.random.default_rng(i), 0.1 + i))
              for i in range(2)]  # fmt: skip
    (labels[1] / "counts.npz").write_bytes((labels[0] / "counts.npz").read_bytes())
    assert "counts.npz gives a mean IoU of" in refusal(*labels)


# --- flags ---


def test_names_of_the_results(tmp_path):
    def names(*folders: str) -> list[str]:
        return own_names([tmp_path / folder for folder in folders])

    assert names("x/a", "y/b") == ["a", "b"]
    assert names("dff/best-scores", "casenet/best-scores") == ["dff", "casenet"]
    assert names("runs/dff/one/s", "runs/dff/two/s", "runs/casenet/one/s") == [
        *("dff/one", "dff/two", "casenet/one")
    ]
    assert names("s", "old/s") == ["s", "old/s"]
    assert names("s", "s/s") == ["s", "s/s"]
    with pytest.raises(InputError, match="is given twice"):
        names("a", "b/../a")


def test_long_paths_are_shortened_to_what_differs(tmp_path):
    def names(*folders: str) -> list[str]:
        return own_names([tmp_path / folder for folder in folders])

    run = "repo/runs/camvid/deeplabv3plus-resnet18"
    assert names(f"{run}/joint/best-scores/edge", "tj-onnx/edge", "k1/edge") == [
        *("deeplabv3plus-resnet18/joint", "tj-onnx", "k1")
    ]
    other = run.replace("18", "34")
    assert names(f"{run}/a/best-scores", f"{other}/a/best-scores", "x/best-scores", "best-scores")[
        :2
    ] == ["deeplabv3plus-resnet18/a", "deeplabv3plus-resnet34/a"]
    # Results of one run: here the folders of test.py are what differs.
    assert names(f"{run}/a/s/hard", f"{run}/a/s/soft", "b/soft") == [
        *("a/s/hard", "a/s/soft", "b/soft")
    ]


def test_columns_have_short_names_that_differ():
    assert column_names(["a", "x" * 40]) == ["a", "x" * 40]
    assert column_names(["deeplabv3plus/first/run", "b"], 12) == ["deepl…st/run", "b"]
    tails = [f"{'x' * 50}{end}" for end in ("one-more", "two-more")]
    assert column_names(tails, 14) == ["xxxxxx…ne-more", "xxxxxx…wo-more"]
    middles = [f"{'x' * 50}{part}{'y' * 9}" for part in "ab"]
    assert column_names(middles, 14) == [f"…xxx{part}{'y' * 9}" for part in "ab"]
    starts = [f"{part}{'x' * 50}" for part in "ab"]
    assert len(set(column_names(starts, 14))) == 2
    hidden = [f"{'x' * 50}{part}{'y' * 50}" for part in "ab"]
    assert column_names(hidden, 14) == ["1: yyyyyy", "2: yyyyyy"]
    wide = column_names(["街" * 30, "道"], 11)
    assert wide == ["街街…街街", "道"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--names", "x"), "--names: found 1 name for 2 folders, x; give one for each folder, in"),
        (("--names", "x", "x"), "--names x x: a name occurs twice"),
        (("--baseline", "c"), "--baseline c: is none of the results; expected one of a, b"),
        (("--metric", "miou"), "--metric miou: the results are of the task edge, which has ods,"),
        (("--bound", "3"), "--bound: is for results of segmentation"),
    ],
)
def test_flags_that_do_not_fit(flags, words, first, counts, tmp_path):
    assert words in refusal(first, write_edges(tmp_path / "b", counts[1]), *flags)


def test_one_folder_is_too_few(first):
    assert "found one folder of results" in refusal(first)


def test_out_is_looked_at_first(first, counts, tmp_path):
    second = write_edges(tmp_path / "b", counts[1])
    assert "is a folder of inputs; choose another" in refusal(first, second, "--out", first)
    (tmp_path / "out/compare.json").mkdir(parents=True)
    assert "compare.json: is a folder, where" in refusal(first, second, "--out", tmp_path / "out")


def test_a_refusal_is_one_line_and_status_2(first, counts, tmp_path, capsys):
    second = write_edges(tmp_path / "b", counts[1], margin=3)
    assert run(lambda: compare(first, second)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: the results cannot be compared, these differ: margin ")
    assert captured.err.count("\n") == 1
