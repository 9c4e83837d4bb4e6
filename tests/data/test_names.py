"""data.names: which files there are, and which belong together."""

import inspect
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.names import (
    keyed_files,
    match_names,
    require_listable,
    require_own_targets,
    require_unique,
    require_utf8,
    walk_files,
)

# Few letters, so that names meet often; "é" in both spellings.
PARTS = st.sampled_from(
    ["a", "b", "\u00e9", "e\u0301", "a_edge", "b_leftImg8bit", "a_gtFine_color"]
)
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6, unique=True)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *endings: str, **options: Any) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk_files(folder, endings, **options)]


def test_walking(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.png", "a.PNG", "sub/c.png", "sub/deeper/d.Png", "e.txt", ".f.png", ".g/h.png"
    )
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    expected = ["a.PNG", "b.png", "sub/c.png", "sub/deeper/d.Png"]
    assert found(tmp_path, ".png") == expected
    assert found(tmp_path, ".png", recursive=False) == expected[:2]
    assert found(tmp_path, ".png", ".txt", recursive=False) == [*expected[:2], "e.txt"]
    assert found(tmp_path, recursive=False) == [*expected[:2], "e.txt"]
    assert found(tmp_path, ".png", skip=lambda folder: folder.name == "deeper") == expected[:3]


def test_links_are_followed_and_loops_noticed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "root/a.png", "root/sub/b.png", "elsewhere/c.png")
    (root / "seq").symlink_to("../elsewhere")
    (root / "file.png").symlink_to("../elsewhere/c.png")
    (root / "sub" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "round").symlink_to("../root")
    (root / "broken.png").symlink_to("nowhere.png")
    (root / "itself.png").symlink_to("itself.png")
    assert found(root, ".png") == ["a.png", "file.png", "seq/c.png", "sub/b.png"]
    # Two links to one folder are two names of its files, as for the left and right cameras.
    (root / "twin").symlink_to("../elsewhere")
    assert "twin/c.png" in found(root, ".png")


def test_folders_deeper_than_python_calls(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 150)
    touch(deep, "a.png")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        files = walk_files(tmp_path, [".png"])
    finally:
        sys.setrecursionlimit(before)
    assert files == [deep / "a.png"]


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """(The tests may run as root, who may read everything.)"""
    touch(tmp_path, "a.png", "locked/b.png", "sub/c.png")
    scandir = os.scandir

    def refuse(folder: Path) -> Any:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        walk_files(tmp_path, [".png"])
    unreadable: list[OSError] = []
    assert found(tmp_path, ".png", unreadable=unreadable.append) == ["a.png", "sub/c.png"]
    assert [error.filename for error in unreadable] == [str(tmp_path / "locked")]
    with pytest.raises(FileNotFoundError):
        walk_files(tmp_path / "none", [])


def test_names_of_files(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.png", "b.v2.PNG", "e\u0301.png")
    assert keyed_files(tmp_path, ".png") == {
        "b.v2": tmp_path / "b.v2.PNG",
        "\u00e9": tmp_path / "e\u0301.png",
        "x/a": tmp_path / "x" / "a.png",
    }
    touch(tmp_path, "x/a.PNG")
    with pytest.raises(InputError, match=r"both .*x/a\.PNG and .*x/a\.png are x/a; remove"):
        keyed_files(tmp_path, ".png")


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        (["a"], ["a"], {"a": "a"}),
        (["a"], [], {}),
        (["x/a"], ["y/a", "x/a"], {"x/a": "x/a"}),  # equal before equal without folders
        (["x/a"], ["a_edge", "y/a"], {"x/a": "y/a"}),  # and that before bare names
        (["x/a_leftImg8bit"], ["y/a_gtFine_edge"], {"x/a_leftImg8bit": "y/a_gtFine_edge"}),
        (["x/a", "y/a"], ["x/a", "a"], {"x/a": "x/a", "y/a": "a"}),
        (["\u00e9"], ["e\u0301"], {"\u00e9": "e\u0301"}),
        (["a", "b"], ["b", "c"], {"b": "b"}),
    ],
)
def test_matches(wanted: list[str], available: list[str], expected: dict[str, str]) -> None:
    assert match_names(wanted, available) == expected
    assert match_names(wanted[::-1], available[::-1]) == expected


@pytest.mark.parametrize(
    ("wanted", "available", "words"),
    [
        (["seq1/1", "seq2/1"], ["1"], "1 could be the file of seq1/1 and of seq2/1"),
        (["1"], ["seq1/1", "seq2/1"], "both seq1/1 and seq2/1 could be the file of 1"),
        (["a"], ["x/a_edge", "y/a_leftImg8bit"], "both x/a_edge and y/a_leftImg8bit could be"),
        (["\u00e9"], ["e\u0301", "\u00e9"], "could be the file of"),
        (["a", "a"], ["a"], "a could be the file of a and of a"),
    ],
)
def test_what_could_mean_two_things_is_refused(
    wanted: list[str], available: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        match_names(wanted, available)
    with pytest.raises(InputError):
        match_names(wanted[::-1], available[::-1])


def forms(name: str) -> tuple[str, str, str]:
    """What may be compared of a name, written out: itself, without folders, without its ending."""
    whole = unicodedata.normalize("NFC", name)
    base = whole.split("/")[-1]
    bare = base
    for ending in ("_leftImg8bit", "_gtFine_color", "_gtFine", "_edge"):
        if base.endswith(ending):
            bare = base[: -len(ending)]
            break
    return whole, base, bare


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES, st.randoms())
def test_pairs_are_one_to_one_and_as_near_as_can_be(wanted, available, random) -> None:
    shuffled = [random.sample(names, len(names)) for names in (wanted, available)]
    try:
        pairs = match_names(wanted, available)
    except InputError:
        with pytest.raises(InputError):
            match_names(*shuffled)
        return
    assert match_names(*shuffled) == pairs
    assert set(pairs) <= set(wanted)
    assert set(pairs.values()) <= set(available)
    assert len(set(pairs.values())) == len(pairs)
    how = {
        theirs: next(k for k in range(3) if forms(ours)[k] == forms(theirs)[k])
        for ours, theirs in pairs.items()
    }
    for ours, theirs in pairs.items():
        for k in range(how[theirs]):
            nearer = [name for name in available if forms(ours)[k] == forms(name)[k]]
            # Nothing that is nearer was passed by, but for what is another's, and as near to that.
            assert all(how.get(name, 3) <= k for name in nearer)
    for name in set(wanted) - set(pairs):
        left = set(available) - set(pairs.values())
        assert not any(forms(name)[2] == forms(other)[2] for other in left)


def test_targets_and_names_of_their_own() -> None:
    require_own_targets([("a", "x"), ("b", "y")])
    with pytest.raises(InputError, match="a and b would both be written as x"):
        require_own_targets([("a", "x"), ("b", "x")])
    with pytest.raises(InputError, match="would both be written as"):
        require_own_targets([("a", "\u00e9"), ("b", "e\u0301")])
    require_unique(["a", "b"], "list")
    with pytest.raises(InputError, match=r"list: 2 names occur twice, such as a, b; each image"):
        require_unique(["a", "b", "c", "a", "b"], "list")
    with pytest.raises(InputError, match="1 names occur twice"):
        require_unique(["\u00e9", "e\u0301"], "list")


def test_names_that_lists_cannot_hold() -> None:
    require_listable(["a", "b/\u00e9"], "maps")
    with pytest.raises(InputError, match=r"1 names of maps are no UTF-8, such as stra\\udcdfe"):
        require_utf8(["a", os.fsdecode(b"stra\xdfe")], "maps")
    for name in ("a b", "a\n", " a", "a\u2003b"):
        with pytest.raises(InputError, match="1 names of maps have spaces"):
            require_listable(["a", name], "maps")
