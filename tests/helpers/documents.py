"""The shell and Python blocks of the documents, and what each command reads and writes."""

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import train

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md"), key=lambda path: (path.stem != "data", path.stem)),
    ROOT / "CONTRIBUTING.md",
]
# Flags that name what a command writes; its other paths are what it reads.
WRITES = {"--out", "--run-dir", "--submit"}
PATH = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
ENDINGS = {
    *("py", "md", "toml", "txt", "yml", "cff", "css", "js", "html", "sbatch"),
    *(
        "json",
        "jsonl",
        "csv",
        "png",
        "jpg",
        "npz",
        "npy",
        "pth",
        "tar",
        "zip",
        "onnx",
        "safetensors",
    ),
}


@dataclass(frozen=True)
class Block:
    """A command of a shell block, or a whole Python block, with the line where it stands."""

    document: Path
    line: int
    text: str
    python: bool

    @property
    def name(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def blocks(document: Path) -> list[Block]:
    """Shell blocks command by command, continued lines joined; Python blocks whole."""
    found: list[Block] = []
    text = document.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        kind, body = match.groups()
        first = text[: match.start()].count("\n") + 2
        assert kind in ("sh", "python", "json", "text", ""), (
            f"{document.name}:{first - 1}: block of kind {kind!r}"
        )
        if kind == "python":
            found.append(Block(document, first, body, True))
        elif kind == "sh":
            joined = body.replace("\\\n", "  ")
            for number, line in enumerate(joined.splitlines()):
                if command := shlex.join(shlex.split(line, comments=True)):
                    found.append(Block(document, first + number, command, False))
    return found


def all_blocks() -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document)]


def looks_like_a_path(word: str) -> bool:
    """A relative path, by its slash or its ending; no number, URL, placeholder or pattern."""
    if not PATH.fullmatch(word) or re.fullmatch(r"[\d.]+", word):
        return False
    name, dot, ending = word.rpartition(".")
    return "/" in word or bool(name and dot and ending in ENDINGS)


def reads(block: Block) -> list[str]:
    """The paths that a command needs."""
    if block.python:
        return [word for word in re.findall(r'"([^"\s]+)"', block.text) if looks_like_a_path(word)]
    made = _named_outputs(block)
    return [word for word in block.words if word not in made and looks_like_a_path(word)]


def writes(block: Block) -> list[str]:
    """The folders that a command makes: those of its output flags, and a training run's own."""
    if block.python:
        return []
    words = block.words
    if "train.py" in words:
        return [train.parse_args(words[words.index("train.py") + 1 :]).run_dir]
    return _named_outputs(block)


def _named_outputs(block: Block) -> list[str]:
    words = block.words
    flags = WRITES | ({"--root"} if "data.scenes" in words else set())
    return [word for flag, word in pairwise(words) if flag in flags]


def mentioned_paths(document: Path) -> set[str]:
    """The paths that the prose names: in backticks, in links, as images."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    spans = [word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()]
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    images = re.findall(r'src="([^"]+)"', text)
    beside = [link for link in [*links, *images] if link and not link.startswith("http")]
    named = {word.rstrip(",;:") for word in spans if looks_like_a_path(word.rstrip(",;:"))}
    inside = {(document.parent / link).resolve().relative_to(ROOT).as_posix() for link in beside}
    return named | inside
