"""data.errors and data.files: cheap to import, one line and a status for the user, safe writing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import InputError, run
from data.files import first_few, read_list, write_aside, write_lines
from data.names import find_files, find_names

ROOT = Path(__file__).resolve().parents[2]


def test_importing_them_takes_no_array_library() -> None:
    code = (
        "import sys; import data, data.args, data.errors, data.files; "
        "print(sorted({'cv2', 'numba', 'numpy', 'scipy', 'torch', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def raiser(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("no such split;\n  expected train"), 2, "error: no such split; expected train"),
        (FileNotFoundError(2, "No such file", "a.png"), 2, "error: a.png: No such file"),
        (FileNotFoundError("no a.png; unzip it"), 2, "error: no a.png; unzip it"),
        (
            InputError(
                "Caught it in worker 0.\nOriginal Traceback:\n  ...\nInputError: a is cut off"
            ),
            2,
            "error: a is cut off",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_mistakes_end_in_one_line_and_a_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(raiser(error)) == status
    assert capsys.readouterr().err == f"{said}\n"


def test_success_and_our_own_faults(capsys: pytest.CaptureFixture) -> None:
    assert run(lambda: None) == 0
    assert run(lambda: 3) == 3
    assert run(raiser(KeyError("ours"))) == 1
    said = capsys.readouterr().err
    assert "KeyError: 'ours'" in said
    assert "please report it" in said.splitlines()[-1]


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for sync in (True, False):
        with write_aside(path, sync=sync) as aside:
            aside.write_text("old")
    with pytest.raises(OSError, match="disk full"), write_aside(path) as aside:
        aside.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_lists(tmp_path: Path) -> None:
    write_lines(tmp_path / "list", ["1", "", "2"])
    assert read_list(tmp_path / "list", int) == [1, 2]
    write_lines(tmp_path / "list", ["1", "", "two"])
    with pytest.raises(InputError, match=r"1 of 2 lines cannot be read: line 3, 'two'"):
        read_list(tmp_path / "list", int)
    with pytest.raises(FileNotFoundError, match="no such list file"):
        read_list(tmp_path / "none", int)


def test_hidden_files_are_not_found(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "._a.png", "c.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_files(tmp_path, "*.png")] == ["a.png", "b.png"]
    assert find_names(tmp_path, ".png") == {"a", "b"}
    assert first_few("abc") == "a, b, c"
    assert first_few("abcd") == "a, b, c, …"
