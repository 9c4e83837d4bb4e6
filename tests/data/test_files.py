"""data.errors and data.files: cheap to import, one line and a status for the user, safe writing."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError, Terminated, one_line, run
from data.files import (
    first_few,
    inner_path,
    parse_json,
    paths_of_line,
    read_json,
    read_list,
    read_text,
    reading,
    require_file,
    write_aside,
    write_lines,
)
from data.names import find_files
from data.system.memory import _left_in_groups, available_memory, require_memory

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
        (Terminated(), 143, "terminated"),
        (MemoryError(), 2, "error: not enough memory"),
        (MemoryError("9 GB"), 2, "error: not enough memory (9 GB)"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory:\n  9 bytes"),
            2,
            "error: not enough memory (DefaultCPUAllocator: can't allocate memory: 9 bytes)",
        ),
        (OSError(28, "No space left on device"), 2, "error: No space left on device"),
        (
            OSError(28, "No space left on device", b"a\xff"),
            2,
            "error: a\\udcff: No space left on device",
        ),
        (OSError(9, "Bad file descriptor", 7), 2, "error: 7: Bad file descriptor"),
        (InputError(""), 2, "error: InputError"),
    ],
)
def test_mistakes_end_in_one_line_and_a_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(raiser(error)) == status
    found = capsys.readouterr().err.encode("utf-8", "backslashreplace").decode()
    assert found == f"{said}\n"


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


@pytest.mark.parametrize("name", [".", "..", "/", "a/.."])
def test_a_path_without_a_name_is_no_file_to_write(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "is a folder; expected the path of a file"
    with pytest.raises(InputError, match=words), write_aside(name):
        raise AssertionError
    assert not list(tmp_path.iterdir())


def test_errors_of_writing_name_the_file_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, number in (
        ("folder", errno.EISDIR),
        ("file/x", errno.ENOTDIR),
        ("x" * 256, errno.ENAMETOOLONG),
    ):
        with (
            pytest.raises(OSError, match=r"\[Errno") as found,
            write_aside(tmp_path / name) as aside,
        ):
            aside.write_text("x")
        assert found.value.errno == number
        named = tmp_path / ("file" if name == "file/x" else name)
        assert one_line(found.value) == f"{named}: {os.strerror(number)}"
    with pytest.raises(OSError, match="No space") as found, write_aside(tmp_path / "new"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert one_line(found.value) == f"{tmp_path}/new: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", ["x" * 243, "x" * 255, "\u00e9" * 127, os.fsdecode(b"\xff" * 255)])
def test_names_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    with write_aside(tmp_path / name) as aside:
        aside.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert require_file(__file__) == Path(__file__)
    for path, words in (
        (tmp_path, "is a folder; expected a list"),
        (tmp_path / "pipe", "is a named pipe"),
        (Path(os.devnull), "a device; expected a list"),
        (Path("a\0b"), "is no path of a list"),
    ):
        with pytest.raises(InputError, match=words):
            require_file(path, "list")
    for path in (tmp_path / "none", Path(__file__) / "below"):
        with pytest.raises(FileNotFoundError, match=r": no such list$"):
            require_file(path, "list")
    for path in (tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(OSError, match=str(path)):
            require_file(path)


def test_what_libraries_raise_names_the_file() -> None:
    for error in (ValueError("odd"), RecursionError("odd"), OSError("odd"), KeyError("odd")):
        words = r"^x: the file cannot be read \('?odd'?\); replace it$"
        with pytest.raises(InputError, match=words), reading("x"):
            raise error
    for error in (InputError("ours"), FileNotFoundError("gone"), OSError(13, "denied", "y")):
        with pytest.raises(type(error)) as found, reading("x"):
            raise error
        assert found.value is error
    with pytest.raises(MemoryError, match="x: 9 GB"), reading("x"):
        raise MemoryError("9 GB")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\u00e9".encode(), "a\u00e9"),
        ("a".encode("utf-8-sig"), "a"),
        (b"", ""),
        ("a".encode("utf-16"), "is UTF-16; expected UTF-8, save it as that"),
        ("a".encode("utf-32"), "is UTF-32; expected UTF-8, save it as that"),
        (b"a\nb\xe9c", r":2: is not UTF-8 .byte 0xe9; Latin-1, perhaps.; save it as UTF-8"),
    ],
)
def test_texts(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "text").write_bytes(content)
    if "UTF" in expected:
        with pytest.raises(InputError, match=expected):
            read_text(tmp_path / "text")
    else:
        assert read_text(tmp_path / "text") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("[" * 100000, "nested too deeply"),
        ("NaN", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e400", "1e400 is too large a number"),
        ("9" * 5000, "Exceeds the limit"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' occurs twice"),
    ],
)
def test_what_is_no_json(text: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"^f:1: is no JSON .*{words}") as found:
        parse_json(text, "f:1")
    assert "\n" not in str(found.value)


def test_two_equal_names_in_a_large_object_are_found_soon() -> None:
    text = "{" + ", ".join(f'"{number % 49999}": 0' for number in range(50000)) + "}"
    start = time.monotonic()
    with pytest.raises(InputError, match="'0' occurs twice"):
        parse_json(text, "f")
    assert time.monotonic() - start < 5


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(JSON, st.booleans())
def test_json_comes_back(tmp_path: Path, value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # half a surrogate, which is no UTF-8
    (tmp_path / "json").write_text(text, encoding="utf-8")
    assert read_json(tmp_path / "json") == value


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=80))
def test_random_bytes_are_no_json_and_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    for read in (read_json, lambda path: read_list(path, int)):
        try:
            read(tmp_path / "f")
        except InputError as error:
            assert str(error).startswith(f"{tmp_path / 'f'}:")


@pytest.mark.parametrize(
    "text", ["/a", "../a", "a/../../b", "..", "", ".", "a\\b", "a\0b", "//a", "a/.."]
)
def test_paths_that_lead_out_of_the_folder_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path below the data set's folder"):
        inner_path(text)


@given(
    st.text(max_size=12).map(lambda text: text.replace("\0", "")),
    st.sampled_from(["", "/", "../", "./"]),
)
@settings(max_examples=200, deadline=None)
def test_a_path_that_is_taken_stays_inside(text: str, start: str) -> None:
    try:
        path = inner_path(start + text)
    except ValueError:
        return
    root = "/root/set"
    assert os.path.normpath(f"{root}/{path}").startswith(f"{root}/")


def test_paths_of_a_line() -> None:
    assert paths_of_line("a/b.png  c.png", 2) == [PurePosixPath("a/b.png"), PurePosixPath("c.png")]
    with pytest.raises(ValueError, match="found 3 parts, expected 2 paths without spaces"):
        paths_of_line("a b c", 2)
    with pytest.raises(ValueError, match="found 2 parts, expected 1 path without"):
        paths_of_line("a b", 1)


def test_lines_end_where_lists_end_them(tmp_path: Path) -> None:
    """Not at the other characters that Python's splitlines takes for ends of lines."""
    (tmp_path / "list").write_bytes("a\u2028b\r\nc\x0bd\re\n\n".encode())
    assert read_list(tmp_path / "list", str) == ["a\u2028b", "c\x0bd", "e"]


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
    assert first_few("abc") == "a, b, c"
    assert first_few("abcd") == "a, b, c, …"


# --- the memory


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = available_memory()
    assert found is not None
    assert 10**7 < found < 10**15
    monkeypatch.setattr("data.system.memory.available_memory", lambda: 2 * 10**9)
    require_memory(2e9, "x", "do y")
    with pytest.raises(
        InputError, match=r"^x takes about 2\.5 GB of memory, and 2\.0 GB are free; do y$"
    ):
        require_memory(2.5e9, "x", "do y")
    monkeypatch.setattr("data.system.memory.available_memory", lambda: None)
    require_memory(1e99, "x", "do y")


def test_limits_of_control_groups(tmp_path: Path) -> None:
    """Of both versions, and of the groups above."""
    (tmp_path / "self").write_text("5:cpu:/\n4:memory:/job\n0::/a/b\n")
    groups = tmp_path / "groups"
    for folder, files in {
        "a": {
            "memory.max": "900",
            "memory.current": "500",
            "memory.stat": "anon 1\ninactive_file 30",
        },
        "a/b": {"memory.max": "max", "memory.current": "400", "memory.stat": ""},
        "memory/job": {
            "memory.limit_in_bytes": "700",
            "memory.usage_in_bytes": "100",
            "memory.stat": "total_inactive_file 5",
        },
        "memory": {
            "memory.limit_in_bytes": str(2**63 - 4096),
            "memory.usage_in_bytes": "9",
            "memory.stat": "",
        },
    }.items():
        (groups / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (groups / folder / name).write_text(text)
    assert sorted(_left_in_groups(tmp_path / "self", groups)) == [430, 605]
    assert not list(_left_in_groups(tmp_path / "none", groups))


# --- whole processes

SCRIPT = """
import sys
from data.errors import InputError, run
def main():
    print("out")
    if sys.argv[1] == "2":
        raise InputError("bad")
sys.exit(run(main))
"""


@pytest.mark.parametrize(
    ("streams", "status", "expected", "said"),
    [
        ("", 0, 0, ""),
        ("", 2, 2, "error: bad\n"),
        (
            ">/dev/full",
            0,
            2,
            "error: the output cannot be written to stdout: No space left on device\n",
        ),
        (">/dev/full", 2, 2, "error: bad\n"),
        (">&-", 0, 0, ""),
        (">&-", 2, 2, "error: bad\n"),
        ("2>/dev/full", 2, 2, ""),
        ("2>&-", 0, 0, ""),
        ("2>&-", 2, 2, ""),
        ("<&- >&- 2>&-", 2, 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(
    streams: str, status: int, expected: int, said: str
) -> None:
    command = f'"{sys.executable}" -c "$0" {status} {streams}'
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", command, SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (expected, said)


NO_FILE_GETS_IT = """
import os, sys
from data.errors import run
def main():
    file = open(sys.argv[1], "w")
    os.write(2, b"libpng warning\\n")
    file.close()
sys.exit(run(main))
"""


def test_what_libraries_print_goes_into_no_file_where_stderr_is_closed(tmp_path: Path) -> None:
    """The next file that is opened would get the number 2."""
    command = f'exec "{sys.executable}" -c "$0" "{tmp_path}/file" <&- 2>&-'
    done = subprocess.run(["sh", "-c", command, NO_FILE_GETS_IT], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == ""


SIGNALS = """
import sys, time
from data.errors import quiet_interrupts, run
if sys.argv[1] == "import":
    quiet_interrupts()
    print("ready", flush=True)
    while True:
        try:
            time.sleep(10)
        except BaseException:  # as a module may do that is being imported
            pass
from data.files import write_aside
def main():
    with write_aside(sys.argv[2]) as aside:
        aside.write_text("half")
        print("ready", flush=True)
        time.sleep(30)
sys.exit(run(main))
"""


@pytest.mark.parametrize(
    ("where", "number", "status", "said"),
    [
        ("import", signal.SIGINT, 130, "interrupted\n"),
        ("main", signal.SIGINT, 130, "interrupted\n"),
        ("main", signal.SIGTERM, 143, "terminated\n"),
    ],
)
def test_signals_end_in_one_line_and_leave_no_part(
    tmp_path: Path, where: str, number: int, status: int, said: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SIGNALS, where, tmp_path / "out" / "file"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (status, said)
    assert not list(tmp_path.glob("out/*"))


def test_a_second_sigterm_does_not_break_the_closing(capsys: pytest.CaptureFixture) -> None:
    closed = []

    def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            closed.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert run(main) == 143
    assert closed
    assert capsys.readouterr().err == "terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before
