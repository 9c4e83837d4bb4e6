"""Plain values of any kind where a file says something about itself: read, or an InputError."""

import json
import string
from pathlib import Path

import pytest
import torch
from helpers.tiny_nets import registered, tiny_contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError, one_line
from data.gtlabel.maps import read_id_map
from utils.checkpoint import ModelInfo, load_model
from utils.training.logger import read_log
from utils.training.saving.fields import require_run_state

SETTINGS = settings(
    derandomize=True,
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(
    st.integers(-2, 20), st.sampled_from([255, 2**31, 2**63, 10**30]), st.floats(), st.booleans()
)
PLAIN = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
GOOD = tiny_contents()
FIELDS = sorted(GOOD["model"])


def assert_refused_or(read: object, is_right: object) -> None:
    """What `read` returns is right, or it raises an InputError of one line."""
    try:
        found = read()
    except InputError as error:
        assert one_line(error)
        assert len(one_line(error)) < 1600
    else:
        assert is_right(found)


@SETTINGS
@given(st.dictionaries(st.sampled_from(FIELDS), PLAIN, min_size=1, max_size=3))
def test_a_model_of_any_fields(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, object]
) -> None:
    """What is loaded is a net that fits what the file says."""
    path = tmp_path_factory.getbasetemp() / "any.pth"
    torch.save(GOOD | {"model": GOOD["model"] | changed}, path)

    def is_right(found: tuple[torch.nn.Module, ModelInfo]) -> bool:
        info = found[1]
        count = info.num_classes
        return (
            type(count) is int
            and len(info.classes) == count
            and info.palette.shape == (count, 3)
            and all(isinstance(name, str) for name in info.classes)
            and type(info.base_size) is int
            and info.base_size >= 0
        )

    with registered():
        assert_refused_or(lambda: load_model(path), is_right)


STATE = {
    "weights": GOOD["weights"],
    "optimizer": {"state": {}, "param_groups": [{"params": [0]}]},
    "epoch": 0,
    "step": 0,
    "steps": 3,
    "best": -1.0,
    "sums": {"fuse": 1.0},
    "seconds": 1.0,
    "waited": 0.0,
    "args": {"model": "dff", "epochs": 3},
}


def test_the_good_state_is_accepted() -> None:
    require_run_state(STATE, "last.pth")


@SETTINGS
@given(st.dictionaries(st.sampled_from(sorted(STATE)), PLAIN, min_size=1, max_size=3))
def test_a_training_state_of_any_fields(changed: dict[str, object]) -> None:
    state = STATE | changed
    assert_refused_or(
        lambda: require_run_state(state, "last.pth"),
        lambda _: type(state["epoch"]) is int and state["epoch"] >= 0,
    )


IDS = st.one_of(st.integers(-3, 70000).map(str), st.text(string.printable, max_size=4))


@SETTINGS
@given(st.one_of(PLAIN, st.dictionaries(IDS, st.one_of(st.integers(-1, 260), PLAIN), max_size=5)))
def test_an_id_map_of_any_json(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert_refused_or(
        lambda: read_id_map(path, 4),
        lambda found: (
            isinstance(value, dict)
            and all(
                type(entry) is int and 0 <= entry <= 65535 and (0 <= k < 4 or k == 255)
                for entry, k in found
            )
        ),
    )


@SETTINGS
@given(st.binary(max_size=60))
def test_an_id_map_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(content)
    assert_refused_or(lambda: read_id_map(path, 4), lambda found: found is not None)


LINE = st.one_of(
    PLAIN.map(json.dumps),
    st.fixed_dictionaries({"kind": st.sampled_from(["train", "val"]), "epoch": PLAIN}).map(
        json.dumps
    ),
    st.text(max_size=20),
)


@SETTINGS
@given(st.lists(LINE, max_size=5))
def test_a_log_of_any_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Each entry has a kind, and an epoch that is a whole number if it has one."""
    path: Path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    assert_refused_or(
        lambda: read_log(path),
        lambda found: all(
            isinstance(entry["kind"], str) and type(entry.get("epoch", 0)) is int for entry in found
        ),
    )
