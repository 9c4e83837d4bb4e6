"""The rules of the repository's structure: layers, who may import what, words, width, code map.

`CONTRIBUTING.md` states them in prose. Nothing here knows what the code computes.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = ("models", "data", "utils")
SCRIPTS = ("train", "test", "predict", "hubconf")
CODE = sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))
CODE += [ROOT / f"{name}.py" for name in SCRIPTS if (ROOT / f"{name}.py").exists()]
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Room -> layer; the most specific prefix counts. Imports go to the same or to a lower layer.
LAYERS = {
    "models": 0,
    "data": 0,
    "utils": 0,
    "utils.distributed": 1,
    "utils.edge_metrics": 1,
    "utils.seg_metrics": 1,
    "utils.checkpoint": 1,
    "utils.export": 1,
    "utils.inference": 2,
    "utils.evaluation": 3,
    "utils.prediction": 3,
    "utils.training": 4,
    "utils.curves": 4,
    "utils.compare": 4,
    "utils.benchmark": 4,
    **dict.fromkeys(SCRIPTS, 5),
}
# Who may ask for the faster forms; of the training room one module, so that one place chooses.
FAST_USERS = ("utils.inference", "utils.benchmark", "utils.training", *SCRIPTS)
FAST_ONLY = ("autograd.Function", "torch.ops.aten", "torch.compiler.is_compiling")
MAX_MODULES = 22
MAX_WIDTH = 100
# What STYLE calls dialect, with the words to write in its place.
DIALECT = {
    r"anew": "again, recomputed, from scratch",
    r"trunks?": "backbone",
    r"heed(s|ed)?": "say what is done",
    r"told": "passed, reported",
    r"spoilt": "invalidated, overwritten",
    r"wherein": "in which",
    r"further": "more, additional, coarse",
    r"so many": "the number of",
    r"as large again": "twice as large",
    r"gone on from": "resumed from",
    r"looks on": "say what happens",
    r"hoards?": "keeps, caches",
    r"showers?": "a noun that says what it is",
    r"only_one": "lock_run_dir",
    r"normalised_anew": "recompute_batch_norm",
    r"(the|a|three) doors?": "script, entry point",
    r"(?<!--)pictures?": "image",
    r"has not(?! \w+(ed|en|un)\b)": "does not have",
}
TREES = "data/scenes/"  # the drawn trees and people have trunks


def name_of(path: Path) -> str:
    """models/fast/__init__.py -> models.fast."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in CODE}


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Every module that a file imports, at its top or inside a function.

    `from models import casenet` names models.casenet; `from models import build_model`, models.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = inside & MODULES.keys()
            found |= submodules
            if inside - submodules:
                found.add(node.module)
    return frozenset(found)


def ours(path: Path) -> set[str]:
    """The modules of this repository that a file imports."""
    return {name for name in imported_names(path) if name.split(".")[0] in (*WINGS, *SCRIPTS)}


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str:
    """The most specific room of LAYERS that holds a module."""
    return max((room for room in LAYERS if within(module, room)), key=len)


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(graph[name] - {name}):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def loaded(*modules: str, among: set[str]) -> set[str]:
    """Which of the packages `among` a fresh Python has loaded after importing `modules`."""
    code = (
        f"import sys, {', '.join(modules)}; "
        f"print(*sorted({among!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def tracked(*patterns: str) -> list[str]:
    """The files of `git ls-files`; skips where there is no git checkout, as in an sdist."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as reason:
        pytest.skip(f"needs git and a checkout: {reason}")
    return sorted(name for name in done.stdout.splitlines() if (ROOT / name).exists())


# --- who imports whom ---


def test_layers_import_downwards() -> None:
    wrong = []
    for module, path in MODULES.items():
        own = LAYERS[room_of(module)]
        wrong += [
            f"{module} (layer {own}) imports {other} (layer {LAYERS[room_of(other)]})"
            for other in ours(path)
            if LAYERS[room_of(other)] > own
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("wing", "other"), [("models", "data"), ("data", "models")])
def test_models_and_data_know_nothing_of_each_other_and_of_utils(wing: str, other: str) -> None:
    for module, path in MODULES.items():
        if within(module, wing):
            wrong = {name for name in ours(path) if name.split(".")[0] in (other, "utils")}
            assert not wrong, f"{module} imports {wrong}"


def test_rooms_of_one_layer_that_know_nothing_of_each_other() -> None:
    rooms = ("utils.evaluation.edges", "utils.evaluation.segmentation")
    scripts = ("utils.prediction", "utils.evaluation")
    for own, other in (rooms, rooms[::-1], scripts, scripts[::-1]):
        for module in (name for name in MODULES if within(name, own)):
            wrong = {name for name in ours(MODULES[module]) if within(name, other)}
            assert not wrong, f"{module} imports {wrong}"


def test_nobody_imports_a_script() -> None:
    commands = {name for name in MODULES if name.endswith(("__main__", "_gtlabel"))}
    for module, path in MODULES.items():
        wrong = ours(path) & (commands | set(SCRIPTS))
        assert not wrong, f"{module} imports {wrong}"


def test_there_are_no_circles() -> None:
    """Of modules, with the imports inside functions; and of the rooms of utils."""
    assert_no_circle({name: ours(path) & MODULES.keys() for name, path in MODULES.items()})
    rooms: dict[str, set[str]] = {room: set() for room in LAYERS}
    for module, path in MODULES.items():
        rooms[room_of(module)] |= {room_of(other) for other in ours(path)}
    assert_no_circle(rooms)


def test_errors_and_files_import_nothing_of_ours() -> None:
    assert ours(ROOT / "data" / "errors.py") == set()
    assert ours(ROOT / "data" / "files.py") <= {"data.errors"}


def test_argparse_stands_in_scripts_and_args_only() -> None:
    wrong = [
        module
        for module, path in MODULES.items()
        if "argparse" in imported_names(path)
        and not (path.name in ("args.py", "__main__.py") or path.stem.endswith("_gtlabel"))
        and module not in ("train", "test", "predict")
    ]
    assert not wrong, f"argparse in {wrong}"


# --- what importing costs ---


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (("data.errors", "data.files"), {"cv2", "numba", "torch"}),
        (("utils.edge_metrics",), {"torch"}),
        (("utils.seg_metrics",), {"torch"}),
        (("utils.evaluation.edges.workers", "utils.evaluation.edges.image_counts"), {"torch"}),
        (
            ("predict", "utils.inference.loading"),
            {"torchvision", "onnx", "onnxruntime", "openvino", "av"},
        ),
        (
            ("train", "predict"),
            {"wandb", "dask", "distributed", "matplotlib", "cityscapesscripts", "tensorboard"},
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_importing_does_not_load(modules: tuple[str, ...], without: set[str]) -> None:
    """Counting workers stay small; optional packages are imported when they are asked for."""
    assert loaded(*modules, among=without) == set()


# --- definitions and their faster forms ---


def test_definitions_do_not_know_their_faster_forms() -> None:
    users = [
        module
        for module, path in MODULES.items()
        if not within(module, "models.fast")
        and any(within(name, "models.fast") for name in ours(path))
    ]
    wrong = [name for name in users if not any(within(name, user) for user in FAST_USERS)]
    assert not wrong, f"models.fast in {wrong}"
    training = [name for name in users if within(name, "utils.training")]
    assert len(training) <= 1, f"chosen in more than one place: {training}"


def test_only_fast_forms_reach_into_autograd_and_the_compiler() -> None:
    wrong = [
        f"{module}: {name}"
        for module, path in MODULES.items()
        if not within(module, "models.fast")
        for name in sorted(set(dotted(path)))
        for bad in FAST_ONLY
        if f".{bad}." in f".{name.replace('autograd.function.', 'autograd.')}."
    ]
    assert not wrong, wrong


def dotted(path: Path) -> Iterator[str]:
    """Every `a.b.c` of a file, and `a.b.c` for `from a.b import c`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# --- files ---


def test_no_folder_is_crowded() -> None:
    """A package's own file, mostly one line, does not count."""
    modules = [path for path in CODE if path.name != "__init__.py"]
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules)
    crowded = {folder: count for folder, count in counts.items() if count > MAX_MODULES}
    assert not crowded, crowded


@pytest.mark.parametrize("room", [*WINGS, "tests", "scripts"])
def test_lines_have_at_most_100_columns(room: str) -> None:
    paths = TESTS if room == "tests" else CODE
    wide = [
        f"{path.relative_to(ROOT)}:{number} ({len(line)})"
        for path in paths
        if path.relative_to(ROOT).parts[0] == (room if room != "scripts" else path.name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MAX_WIDTH
    ]
    assert not wide, f"{len(wide)} lines: {', '.join(wide[:20])}"


def test_the_code_map_lists_every_file() -> None:
    """docs/code-map.md has one row for each Python file outside the tests, and for no other."""
    text = (ROOT / "docs" / "code-map.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/.]+\.py)` \| (.*) \|$", text, re.MULTILINE)
    listed = Counter(name for name, _ in rows)
    files = {name for name in tracked("*.py") if not name.startswith("tests/")}
    assert not files - listed.keys(), f"not in docs/code-map.md: {sorted(files - listed.keys())}"
    assert not listed.keys() - files, f"no such file: {sorted(listed.keys() - files)}"
    assert max(listed.values()) == 1
    assert all(len(purpose) > 10 for _, purpose in rows)


# --- words ---


def prose_and_names(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every comment, string and identifier of a file."""
    kinds = {
        tokenize.COMMENT,
        tokenize.STRING,
        tokenize.NAME,
        getattr(tokenize, "FSTRING_MIDDLE", -1),
    }
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


@pytest.mark.parametrize("room", [*WINGS, "scripts"])
def test_the_words_are_the_fields(room: str) -> None:
    """No dialect in comments, docstrings, messages and names."""
    found = []
    for path in CODE:
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] != room and not (room == "scripts" and "/" not in name):
            continue
        for number, text in prose_and_names(path):
            for word, instead in DIALECT.items():
                if "trunk" in word and name.startswith(TREES):
                    continue
                if hit := re.search(rf"(?<![A-Za-z]){word}(?![A-Za-z])", text, re.IGNORECASE):
                    found.append(f"{name}:{number}: {hit[0]!r} -> {instead}")
    assert not found, f"{len(found)}:\n" + "\n".join(found)


def test_the_words_of_the_documents() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"`[^`\n]+`", "", path.read_text(encoding="utf-8"))
        for word, instead in DIALECT.items():
            hit = re.search(rf"(?<![A-Za-z]){word}(?![A-Za-z])", text, re.IGNORECASE)
            assert not hit, f"{path.name}: {hit[0]!r} -> {instead}"


# --- tests ---


def test_no_test_imports_a_test() -> None:
    """What tests share lies in tests/helpers. Module names are unique: pytest imports by them."""
    test_module = re.compile(r"(^|\.)(test_\w+|conftest|tests)(\.|$)")
    for path in TESTS:
        wrong = {name for name in imported_names(path) if test_module.search(name)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"
    names = Counter(path.name for path in TESTS if path.name.startswith("test_"))
    assert max(names.values()) == 1, names.most_common(1)
