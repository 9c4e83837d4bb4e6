"""dataset.json: what it says, comes back as it was; each wrong entry is one line with its place."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.dataset_file import (
    MAX_ID,
    DatasetFile,
    LabelClass,
    class_pairs,
    format_dataset_file,
    parse_dataset_file,
    read_dataset_file,
    unpack_color,
    value_name,
    write_dataset_file,
)
from data.errors import InputError

ROAD = {"name": "road", "color": [1, 2, 3], "ids": [7, 8]}
CAR = {"name": "car", "color": [4, 5, 6]}


def parse(**entries: object) -> DatasetFile:
    return parse_dataset_file({"classes": [ROAD, CAR], **entries}, "dataset.json")


def test_what_the_documentation_shows() -> None:
    content = parse(
        background={"name": "rest", "ids": [0]}, none_ids=[9], ignored_ids=[255], upright=True
    )
    assert content.classes == (
        LabelClass("road", (1, 2, 3), (7, 8)),
        LabelClass("car", (4, 5, 6), (1,)),  # its position in the list
    )
    assert content.background == LabelClass("rest", (0, 0, 0), (0,))
    assert (content.none, content.ignored, content.upright) == ((9,), (255,), True)
    assert dict(content.splits) == {"train": 0.7, "val": 0.15, "test": 0.15}
    assert [c.name for c in content.task_classes("edge")] == ["road", "car"]
    assert [c.name for c in content.task_classes("seg")] == ["road", "car", "rest"]
    assert content.known() == {7, 8, 1, 0, 9, 255}
    assert class_pairs(content, "edge") == ((1, 1), (7, 0), (8, 0), (255, 256))
    assert class_pairs(content, "seg") == ((0, 2), (1, 1), (7, 0), (8, 0), (255, 256))


def test_colours_take_the_place_of_ids() -> None:
    rows = [
        {"name": "a", "color": [1, 2, 3]},
        {"name": "b", "color": [9, 9, 9], "colors": [[0, 0, 1]]},
    ]
    content = parse(classes=rows, labels="colors", ignored_colors=[[255, 255, 255]])
    assert content.colored
    assert [c.values for c in content.classes] == [(0x010203,), (1,)]
    assert content.ignored == (0xFFFFFF,)
    assert unpack_color(0x010203) == (1, 2, 3)
    assert value_name(0x010203, colored=True) == "[1, 2, 3]"
    assert value_name(7, colored=False) == "id 7"


names = st.text(min_size=1, max_size=20).filter(
    lambda text: text.strip() and not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)
).map(lambda text: unicodedata.normalize("NFC", text.strip()))  # fmt: skip
channels = st.integers(0, 255)
colors = st.tuples(channels, channels, channels)
words = st.text("abcXYZ019_-", min_size=1, max_size=8).map(lambda word: f"s{word}")
rules = st.one_of(
    st.dictionaries(words, st.floats(0.01, 100), min_size=1, max_size=4),
    st.dictionaries(
        words,
        st.one_of(
            words.map(lambda w: f"{w}.txt"), st.lists(words, min_size=1, max_size=3).map(tuple)
        ),
        min_size=1,
        max_size=4,
    ),
)


@st.composite
def contents(draw: st.DrawFn) -> DatasetFile:
    colored = draw(st.booleans())
    most = 0xFFFFFF if colored else MAX_ID
    count = draw(st.integers(1, 5))
    found = draw(st.lists(names, min_size=count + 1, max_size=count + 1, unique=True))
    values = draw(st.lists(st.integers(0, most), min_size=count + 5, max_size=30, unique=True))
    described = [LabelClass(name, draw(colors), (values.pop(),)) for name in found]
    none, ignored = tuple(values[:2]), tuple(values[2:])
    background = described[-1] if draw(st.booleans()) else None
    return DatasetFile(
        tuple(described[:-1]),
        colored,
        background,
        none,
        ignored,
        draw(st.booleans()),
        draw(rules),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.booleans()),
    )


@settings(max_examples=40)
@given(contents())
def test_the_text_is_read_as_it_was_written(content: DatasetFile) -> None:
    again = parse_dataset_file(json.loads(format_dataset_file(content)), "x")
    assert again == content


def test_written_and_read(tmp_path: Path) -> None:
    content = parse(splits={"train": ["a", "b"], "val": "lists/val.txt"}, split_by="folder", seed=3)
    write_dataset_file(tmp_path, content)
    assert read_dataset_file(tmp_path) == content
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_without_the_file_the_line_has_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no dataset\.json in .*python -m data\.importer ids"
    ):
        read_dataset_file(tmp_path)


LONG = "x" * 101
WRONG: list[tuple[dict, str]] = [
    ({"classes": []}, '"classes" has 0 classes; expected a list of 1 to 254'),
    ({"classes": None}, '"classes" has no list'),
    ({"classes": [{"name": f"{k}", "ids": [k]} for k in range(255)]}, "has 255 classes"),
    ({"classes": ["road"]}, 'class 1: expected a "name"'),
    ({"classes": [{"name": "  "}]}, 'class 1: expected a "name"'),
    ({"classes": [{"name": 3}]}, 'class 1: expected a "name", found \'3\''),
    ({"classes": [{"name": LONG}]}, "its name has 101 characters, expected at most 100"),
    ({"classes": [{"name": "a\nb"}]}, "its name has control characters"),
    ({"classes": [{"name": "a", "colour": [0, 0, 0]}]}, "class 1: 'colour' is unknown here"),
    ({"classes": [{"name": "a", "color": [0, 0]}]}, r"[0, 0] is no colour; expected [red, green"),
    ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, "[0, 0, 256] is no colour"),
    ({"classes": [{"name": "a", "color": [0, 0, True]}]}, "[0, 0, True] is no colour"),
    ({"classes": [{"name": "a", "ids": []}]}, "class 1, a: has no ids, so it could never occur"),
    ({"classes": [{"name": "a", "ids": 3}]}, "class 1, a: ids: is 3; expected a list"),
    ({"classes": [{"name": "a", "ids": [65536]}]}, "'65536' is no id; expected whole numbers"),
    ({"classes": [{"name": "a", "ids": [True]}]}, "'True' is no id"),
    ({"classes": [{"name": "a", "ids": [1.0]}]}, "'1.0' is no id"),
    ({"classes": [ROAD, ROAD]}, "two classes are called 'road'; their ids can be one list"),
    ({"classes": [ROAD, {"name": "car", "ids": [8]}]}, "id 8 is both 'road' and 'car'"),
    ({"classes": [{"name": "a", "ids": [1, 1]}]}, "id 1 is both 'a' and 'a'"),
    ({"classes": [ROAD], "background": {"name": "road", "ids": [0]}}, "two classes are called"),
    ({"background": {"name": "rest", "ids": [7]}}, "id 7 is both 'road' and 'rest'"),
    ({"background": "rest"}, '"background": expected a "name"'),
    ({"none_ids": [7]}, "id 7 is both 'road' and 'none'"),
    ({"ignored_ids": [1]}, "id 1 is both 'car' and 'ignored'"),
    ({"none_ids": [-1]}, "none_ids: '-1' is no id"),
    ({"none_colors": [[0, 0, 0]]}, '"none_colors" needs "labels": "colors"'),
    ({"classes": [CAR], "labels": "colors", "none_ids": [0]}, '"none_ids" needs "labels": "ids"'),
    ({"classes": [{"name": "a"}], "labels": "colors"}, 'expected a "color", as label maps are in'),
    ({"classes": [ROAD], "labels": "colors"}, "'ids' is unknown here (\"labels\" says colors)"),
    ({"labels": "rgb"}, '"labels" is \'rgb\'; expected "ids" or "colors"'),
    ({"labels": ["ids"]}, '"labels" is'),
    ({"upright": 1}, '"upright" is \'1\'; expected true or false'),
    ({"seed": -1}, '"seed" is \'-1\'; expected a whole number'),
    ({"seed": 0.5}, '"seed" is'),
    ({"split_by": "video"}, '"split_by" is \'video\'; expected "name" or "folder"'),
    ({"clases": []}, "'clases' is unknown; expected background, classes"),
    ({"splits": {}}, '"splits": expected an object like'),
    ({"splits": ["train"]}, '"splits": expected an object like'),
    ({"splits": {"train": 0}}, "'train': the share is 0; expected a number above 0"),
    ({"splits": {"train": -1}}, "'train': the share is -1"),
    ({"splits": {"train": float("nan")}}, "NaN is no number of JSON"),
    ({"splits": {"train": True}}, "'train': is True; expected a share, a folder"),
    ({"splits": {"train": []}}, "'train': is []; expected a share"),
    ({"splits": {"train": [3]}}, "'train': is [3]; expected a share"),
    ({"splits": {"train": "../other"}}, "'train': "),
    ({"splits": {"train": "/etc"}}, "'train': "),
    ({"splits": {"train": 0.5, "val": "val"}}, "either shares for all splits, or for none"),
    ({"splits": {"all": 1}}, "'all' cannot be the name of a split"),
    ({"splits": {"trainval": 1}}, "'trainval' cannot be the name of a split"),
    ({"splits": {"my split": 1}}, "'my split' cannot be the name of a split"),
    ({"splits": {"../x": 1}}, "'../x' cannot be the name of a split"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_a_wrong_entry_is_one_line(entries: dict, says: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"classes": [ROAD, CAR], **entries}))
    with pytest.raises(InputError) as refused:
        read_dataset_file(tmp_path)
    line = str(refused.value)
    assert line.startswith(str(path))
    assert says in line
    assert "\n" not in line
    assert len(line) < 400 + len(str(path))


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", '{"classes": [', '{"classes": [{"name": "a"}],}']
)
def test_text_that_is_no_such_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json"):
        read_dataset_file(tmp_path)


def test_names_are_compared_in_one_unicode_form() -> None:
    twice = [{"name": "Caf\u00e9", "ids": [0]}, {"name": "Cafe\u0301", "ids": [1]}]
    with pytest.raises(InputError, match="two classes are called"):
        parse(classes=twice)
