"""python -m utils.compare: scores and intervals against a plain loop, files, and the page."""

import csv
import json
import math
import re
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from helpers.compare import (
    CLASSES,
    compare,
    draw_edge_counts,
    draw_maps,
    write_edges,
    write_labels,
)
from helpers.edge_files import SIZE, write_edge_files
from helpers.evaluation import metrics_of, score

from data.errors import InputError
from data.image_io import write_png
from utils.compare.bootstrap import FEWEST, resamples
from utils.compare.results import read_result
from utils.edge_metrics import summarize
from utils.evaluation.segmentation.scores import SegProtocol, count_label_map, score_images

SAMPLES, SEED = 100, 5
QUICK = ("--samples", SAMPLES, "--seed", SEED)
EDGE_FIGURES: dict[str, Callable] = {
    "ods": lambda summary: summary.ods.f,
    "ois": lambda summary: summary.ois.f,
    "ap": lambda summary: summary.ap,
}


@pytest.fixture
def pair(tmp_path, rng):
    """Two edge results, and their counts."""
    counts = [draw_edge_counts(rng, skill) for skill in (0.7, 0.75)]
    folders = [write_edges(tmp_path / name, c) for name, c in zip("ab", counts, strict=True)]
    return folders, counts


def document_of(folder) -> dict:
    return json.loads((folder / "compare.json").read_text())


def plain_draws(images: int) -> list[np.ndarray]:
    """The images of each resample, as lists."""
    rng = np.random.default_rng(SEED)
    return [rng.integers(0, images, images) for _ in range(SAMPLES)]


def plain_mean(values: list[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def plain_interval(first: list[float], second: list[float]) -> tuple[float, float, int]:
    """(low, high, number of resamples) of second - first, at 95 %."""
    found = [b - a for a, b in zip(first, second, strict=True) if not math.isnan(b - a)]
    low, high = np.percentile(found, [2.5, 97.5])
    return low, high, len(found)


def assert_same_row(row: dict, values: list[float], draws: list[list[float]]) -> None:
    """A row of compare.json against the scores of the whole set and of all resamples."""
    for each, value in zip(row["results"], values, strict=True):
        assert each["score"]["value"] == pytest.approx(value, abs=1e-12)
    low, high, number = plain_interval(*draws)
    change = row["results"][1]["difference"]
    assert change["value"] == pytest.approx(values[1] - values[0], abs=1e-12)
    assert (change["low"], change["high"]) == pytest.approx((low, high), abs=1e-12)
    assert row["resamples"] == number


@pytest.mark.parametrize("metric", EDGE_FIGURES)
def test_edges_against_a_loop_over_resampled_lists_of_images(metric, pair, tmp_path):
    folders, counts = pair
    compare(*folders, "--out", tmp_path / "out", "--metric", metric, *QUICK)
    figure = EDGE_FIGURES[metric]
    found = document_of(tmp_path / "out")["comparisons"]
    assert [(each["metric"], each["variant"]) for each in found] == [
        (metric, "thin"),
        (metric, "raw"),
    ]
    lists = plain_draws(len(counts[0]))
    for mode, part in enumerate(found):
        classes = range(len(CLASSES))
        values = [[figure(summarize(c[:, mode, k])) for k in classes] for c in counts]
        draws = [
            [[figure(summarize(c[rows, mode, k])) for k in classes] for rows in lists]
            for c in counts
        ]
        for k in classes[:-1]:
            one = [[drawn[k] for drawn in each] for each in draws]
            assert_same_row(part["classes"][k], [v[k] for v in values], one)
        assert [r["score"] for r in part["classes"][-1]["results"]] == [None, None]
        means = [[plain_mean(drawn) for drawn in each] for each in draws]
        assert_same_row(part["mean"], [plain_mean(v) for v in values], means)


def test_a_class_without_ground_truth_in_a_resample_is_left_out_of_it(tmp_path, rng):
    counts = [draw_edge_counts(rng, skill, images=6) for skill in (0.6, 0.8)]
    for each in counts:
        each[:, :, 1] *= (np.arange(6) < 2)[:, None, None, None]  # the class is in two of six
    folders = [write_edges(tmp_path / name, c) for name, c in zip("ab", counts, strict=True)]
    compare(*folders, "--out", tmp_path / "out", "--metric", "ods", *QUICK)
    row = document_of(tmp_path / "out")["comparisons"][0]["classes"][1]
    with_class = sum(bool((rows < 2).any()) for rows in plain_draws(6))
    assert (row["images"], row["resamples"]) == (2, with_class)
    assert 0 < with_class < SAMPLES


def test_one_image_with_a_class_makes_no_interval(tmp_path, rng, capsys):
    assert FEWEST == 2
    counts = [draw_edge_counts(rng, skill) for skill in (0.6, 0.8)]
    for each in counts:
        each[1:, :, 1] = 0
    folders = [write_edges(tmp_path / name, c) for name, c in zip("ab", counts, strict=True)]
    compare(*folders, "--out", tmp_path / "out", "--metric", "ods", *QUICK)
    row = document_of(tmp_path / "out")["comparisons"][0]["classes"][1]
    change = row["results"][1]["difference"]
    assert change["value"] > 0
    assert (change["low"], change["high"], row["resamples"]) == (None, None, 0)
    assert "in one image: no interval" in capsys.readouterr().out


def test_segmentation_against_a_loop(tmp_path, rng):
    maps = [draw_maps(rng, mistakes) for mistakes in (0.1, 0.2)]
    folders = [write_labels(tmp_path / name, m) for name, m in zip("ab", maps, strict=True)]
    keys = ("miou", "boundary-f", "boundary-f-present", "boundary-iou")
    flags = ("--metric", *keys, "--bound", 0.02)
    compare(*folders, "--out", tmp_path / "out", *flags, *QUICK)
    found = document_of(tmp_path / "out")["comparisons"]
    assert [(e["metric"], e["variant"]) for e in found] == [
        ("miou", None),
        ("boundary-f", 0.02),
        ("boundary-f-present", 0.02),
        ("boundary-iou", None),
    ]
    protocol = SegProtocol(CLASSES, (3.0, 0.02))
    counts = [[count_label_map(*each, protocol) for each in part] for part in maps]

    def figures(chosen: list) -> list[np.ndarray]:
        scores = score_images(chosen, protocol)
        return [scores.iou, scores.f[1], scores.f_present[1], scores.boundary_iou]

    whole = [figures(each) for each in counts]
    draws = [[figures([c[i] for i in rows]) for rows in plain_draws(8)] for c in counts]
    for m, part in enumerate(found):
        for k in range(3):
            one = [[drawn[m][k] for drawn in each] for each in draws]
            assert_same_row(part["classes"][k], [w[m][k] for w in whole], one)
        means = [[plain_mean([*drawn[m]]) for drawn in each] for each in draws]
        assert_same_row(part["mean"], [plain_mean([*w[m]]) for w in whole], means)


def test_resamples_do_not_depend_on_the_block():
    whole = next(resamples(7, 40, 40, SEED))[1]
    parts = [*resamples(7, 40, 9, SEED)]
    assert np.array_equal(np.concatenate([weights for _, weights in parts]), whole)
    assert [rows.start for rows, _ in parts] == [0, 9, 18, 27, 36]
    assert (whole.sum(axis=1) == 7).all()


def test_the_interval_of_a_mean_is_that_of_textbooks():
    """Of counts whose score is a mean over images: near 1.96 standard errors on both sides."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 0.1, 400)
    weights = next(resamples(400, 4000, 4000, 1))[1]
    means = weights @ values / 400
    low, high = np.quantile(means, [0.025, 0.975])
    error = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=8e-4)


def test_the_same_result_twice_differs_by_nothing(pair, tmp_path):
    (first, _), counts = pair
    again = write_edges(tmp_path / "again", counts[0])
    compare(first, again, "--out", tmp_path / "out", *QUICK)
    for part in document_of(tmp_path / "out")["comparisons"]:
        change = part["mean"]["results"][1]["difference"]
        assert change == {"value": 0, "low": 0, "high": 0}


def test_it_is_deterministic_and_the_seed_matters(pair, tmp_path):
    folders, _ = pair
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        compare(*folders, "--out", tmp_path / name, "--samples", 100, "--seed", seed)
    texts = [(tmp_path / name / "compare.csv").read_text() for name in "xyz"]
    assert texts[0] == texts[1] != texts[2]


def test_binary_predictions_have_no_ap(pair, tmp_path, rng, capsys):
    folders, counts = pair
    hard = np.repeat(counts[0][:, :, :, 4:5], 9, axis=3)
    hard_folder = write_edges(tmp_path / "hard", hard, binary=True)
    compare(*folders, hard_folder, "--out", tmp_path / "out", *QUICK)
    found = {
        (e["metric"], e["variant"]): e["mean"] for e in document_of(tmp_path / "out")["comparisons"]
    }
    assert found["ap", "thin"]["results"][2] == {"name": "hard", "score": None, "difference": None}
    assert found["ap", "thin"]["results"][1]["difference"]["low"] is not None
    assert found["ods", "thin"]["results"][2]["difference"]["low"] is not None
    thin_ap = capsys.readouterr().out.split("thin: AP\n")[1].split("\n\n")[0]
    assert re.search(r"^mean +\d+\.\d\d +\d+\.\d\d +- +\S+ \[\S+, \S+\]\*? +- +12$", thin_ap, re.M)


def test_a_table_that_no_result_has_is_left_out(pair, tmp_path, rng, capsys):
    """It stays in the files for programs, as null."""
    hard = [np.repeat(c[:, :, :, 4:5], 9, axis=3) for c in pair[1]]
    folders = [
        write_edges(tmp_path / name, c, binary=True) for name, c in zip("cd", hard, strict=True)
    ]
    compare(*folders, "--out", tmp_path / "out", *QUICK)
    captured = capsys.readouterr()
    why = "every result is edge or no edge, without probabilities"
    said = f"thin: AP and raw: AP left out: {why}"
    assert [line for line in captured.err.splitlines() if "note" in line] == [f"note: {said}"]
    titles = re.findall(r"^(\w+: .+)\nclass ", captured.out, re.M)
    assert titles == ["thin: MF (ODS)", "raw: MF (ODS)"]
    assert re.split("  +", captured.out.split("means of the classes\n")[1].splitlines()[0]) == [
        *("result", "thin: MF (ODS)", "to c", "raw: MF (ODS)", "to c")
    ]
    document = document_of(tmp_path / "out")
    assert document["notes"] == [said]
    assert [e["metric"] for e in document["comparisons"]] == ["ods", "ap", "ods", "ap"]
    headings = re.findall(r"<h2>([^<]+)</h2>", (tmp_path / "out/compare.html").read_text())
    assert not [heading for heading in headings if "AP" in heading]
    with pytest.raises(InputError, match="--metric ap: every result is edge or no edge"):
        compare(*folders, "--metric", "ap", *QUICK)


def test_what_is_printed_and_written(pair, tmp_path, capsys):
    folders, counts = pair
    compare(*folders, "--names", "old", "new", "--out", tmp_path / "out", *QUICK)
    printed = capsys.readouterr().out
    assert printed.startswith("camvid test, max. distance 0.02, scale 1, ")
    assert "95 % interval of the difference, paired bootstrap over 12 images" in printed
    assert re.search(r"^class +old +new +new - old +images +note$", printed, re.M)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["compare.csv", "compare.html", "compare.json"]
    rows = [*csv.DictReader((tmp_path / "out/compare.csv").open())]
    assert len(rows) == 2 * 2 * (len(CLASSES) + 1) * 2
    ods = summarize(counts[1][:, 1, 0]).ods.f
    row = next(r for r in rows if r["class"] == "road" and r["result"] == "new"
               and (r["metric"], r["variant"]) == ("ods", "raw"))  # fmt: skip
    assert float(row["score"]) == pytest.approx(ods)
    shown = f"{100 * ods:.2f}  {100 * float(row['difference']):+.2f}"
    assert re.search(
        rf"^road +\d+\.\d\d +{re.escape(shown)} \[", printed.split("\nraw: MF (ODS)\n")[1], re.M
    )
    document = document_of(tmp_path / "out")
    assert document["bootstrap"] == {"samples": SAMPLES, "level": 0.95, "seed": SEED}
    assert [each["name"] for each in document["results"]] == ["old", "new"]


def test_markdown(pair, capsys):
    compare(*pair[0], "--metric", "ods", "--markdown", *QUICK)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("**thin: MF (ODS)**") + 2
    table = lines[start : start + 2 + len(CLASSES) + 1]
    assert table[0] == "| class | a | b | b - a | images | note |"
    assert table[1] == "| --- | ---: | ---: | ---: | ---: | --- |"
    assert all(line.replace("\\|", "").count("|") == 7 for line in table)
    assert table[-2] == "| rider | - | - | - | 0 | no ground truth |"
    assert table[-1].startswith("| **mean** | **")
    assert not re.search(r"\](?<!\\)\*\d", "".join(table))


def test_the_means_alone(pair, tmp_path, capsys):
    compare(*pair[0], "--no-by-class", "--out", tmp_path / "out", *QUICK)
    printed = capsys.readouterr().out
    assert "road" not in printed
    table = printed.split("means of the classes\n")[1].split("\n\n")[0].splitlines()
    header = ("result", *(c for m in ("thin", "raw") for n in ("MF (ODS)", "AP")
                          for c in (f"{m}: {n}", "to a")))  # fmt: skip
    assert re.split(r"  +", table[0].strip()) == [*header]
    found = document_of(tmp_path / "out")["comparisons"]
    for r, line in enumerate(table[2:]):
        scores = [f"{100 * e['mean']['results'][r]['score']['value']:.2f}" for e in found]
        assert re.split(r"  +", line)[0] == "ab"[r]
        assert re.split(r"  +", line)[1::2] == scores


def test_another_baseline_turns_the_differences_round(pair, tmp_path):
    folders, _ = pair
    for name in "ab":
        compare(*folders, "--out", tmp_path / f"to-{name}", "--baseline", name, *QUICK)
    to_a, to_b = (document_of(tmp_path / f"to-{name}")["comparisons"][0]["mean"] for name in "ab")
    first, second = to_a["results"][1]["difference"], to_b["results"][0]["difference"]
    assert second["value"] == -first["value"]
    assert (second["low"], second["high"]) == pytest.approx((-first["high"], -first["low"]))
    assert to_b["results"][1]["difference"] is None


def test_the_level_widens_the_interval(pair, tmp_path):
    widths = []
    for level in (50, 90, 99):
        compare(*pair[0], "--out", tmp_path / str(level), "--level", level, *QUICK)
        change = document_of(tmp_path / str(level))["comparisons"][0]["mean"]["results"][1]
        widths.append(change["difference"]["high"] - change["difference"]["low"])
    assert widths == sorted(widths)


def test_the_page(pair, tmp_path):
    folders, _ = pair
    compare(*folders, "--names", "a<b", "c&d", "--out", tmp_path / "out", *QUICK)
    page = (tmp_path / "out/compare.html").read_text()
    assert "a&lt;b" in page
    assert "c&amp;d" in page
    assert "a<b" not in page
    # Two modes: a plot of mean F and one for each class with ground truth; four of differences.
    assert page.count("<svg") == 2 * (1 + len(CLASSES) - 1) + 4
    assert "http" not in page.replace("http-equiv", "")
    plots = page.split("Thin: precision over recall")[1].split("</section>")[0]
    assert plots.count('data-key="a&lt;b"') == 1 + 4  # the legend, and each plot


def test_what_test_py_leaves_for_segmentation_is_read(tmp_path, rng):
    """The whole way, with the scores of metrics.json."""
    for name, mistakes in (("a", 0.1), ("b", 0.2)):
        for i, (pred, true) in enumerate(draw_maps(rng, mistakes)):
            write_png(tmp_path / f"labels/image{i}.png", true)
            write_png(tmp_path / f"{name}-maps/image{i}.png", pred)
        folders = ("--predictions", tmp_path / f"{name}-maps", "--labels", tmp_path / "labels")
        score("--task", "seg", *folders, "--num-classes", 4, "--workers", 0, "--no-report",
              "--out", tmp_path / name)  # fmt: skip
    compare(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", *QUICK)
    found = document_of(tmp_path / "out")["comparisons"]
    assert [(e["metric"], e["variant"]) for e in found] == [("miou", None), ("boundary-f", 3.0)]
    for r, name in enumerate("ab"):
        scores = metrics_of(tmp_path / name)["scores"]
        stated = scores["miou"], scores["boundary_f"][0]["published_mean"]
        means = [each["mean"]["results"][r]["score"]["value"] for each in found]
        assert means == pytest.approx(stated)
    sums = read_result(tmp_path / "a", "a").counts["pixels"].sum(axis=0)
    matrix = np.array(metrics_of(tmp_path / "a")["scores"]["confusion"])
    expected = np.diagonal(matrix), matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)
    assert np.array_equal(sums, np.stack(expected, axis=1))


def test_what_test_py_leaves_for_edges_is_read(tmp_path, rng):
    names, _, _ = write_edge_files(tmp_path, rng)
    shutil.copytree(tmp_path / "pred", tmp_path / "other")
    write_png(tmp_path / "other/class_001" / f"{names[0]}.png", np.zeros(SIZE, np.uint16))
    for name, folder in (("a", "pred"), ("b", "other")):
        files = ("--predictions", tmp_path / folder, "--labels", tmp_path / "gt")
        score("--task", "edge", *files, "--thresholds", 9, "--workers", 0, "--no-report",
              "--out", tmp_path / name)  # fmt: skip
    compare(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", *QUICK)
    found = document_of(tmp_path / "out")["comparisons"]
    for each in found:
        for r, name in enumerate("ab"):
            stated = metrics_of(tmp_path / name)["scores"][each["variant"]]["mean"]
            value = each["mean"]["results"][r]["score"]["value"]
            assert value == pytest.approx(stated[each["metric"]])
        change = each["classes"][0]["results"][1]["difference"]
        assert change["value"] != 0
        assert each["classes"][2]["results"][0]["score"] is None  # no ground truth
