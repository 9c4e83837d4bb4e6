"""Imports run one way: scripts -> utils -> models, data; importing does nothing that takes long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The label scripts are doors like train.py; their drawing for --visualize comes from utils, imported when it is asked for.
DOORS = {("data/gtlabel/products.py", "data.visualize")}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or anywhere else."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    ("wing", "forbidden"),
    [
        ("models", ("data", "utils", "argparse", "train", "predict")),
        ("data", ("models", "utils", "train", "predict")),
        ("utils", ("train", "predict")),
    ],
)
def test_imports_run_one_way(wing: str, forbidden: tuple[str, ...]) -> None:
    for path in sorted((ROOT / wing).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        wrong = {module for module in imports(path) if module.split(".")[0] in forbidden}
        assert not {module for module in wrong if (name, module) not in DOORS}, (
            f"{name} imports {wrong}"
        )


def test_there_are_no_circles() -> None:
    files = [path for wing in ("models", "data", "utils") for path in (ROOT / wing).rglob("*.py")]
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }
    graph = {name: imports(path) & modules.keys() for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name] - {name}:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_importing_the_scripts_needs_no_optional_package() -> None:
    """wandb, dask, matplotlib and cityscapesscripts are imported when they are asked for, not before."""
    code = (
        "import sys, train, predict; "
        "print(sorted({'wandb', 'dask', 'distributed', 'matplotlib', 'cityscapesscripts'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
