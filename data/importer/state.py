"""What an importer has written below OUT, so that a later run knows what is its own, and stale.

OUT/import.json names the imports, with the images of each. OUT/import-inputs.jsonl has a line for
each image that was made: a digest of what it was made of, and what is in it. Lines are appended one
at a time, so a killed run loses none; the later of two lines about one image counts.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data.dataset_file import IMPORTS
from data.errors import InputError
from data.files import parse_json, read_json, require_file, write_aside

NAME = IMPORTS
RECORDS = "import-inputs.jsonl"


@dataclass(frozen=True)
class Import:
    """One source that was imported.

    Args:
        kind: of its format.
        source: of its annotations, an absolute path.
        images: the folder of its images, an absolute path.
        split: of --split.
        in_folders: whether its splits are folders below images/.
        names: its images, below images/ without endings.
    """

    kind: str
    source: str
    images: str
    split: str | None
    in_folders: bool
    names: Sequence[str] = ()

    def is_same(self, other: "Import") -> bool:
        """Whether both are runs of one import."""
        return all(
            getattr(self, key) == getattr(other, key)
            for key in ("kind", "source", "images", "split")
        )


@dataclass(frozen=True)
class Made:
    """What is below OUT of one image.

    Args:
        digest: of what it was made of.
        image: its file's path below images/.
        instance: whether its format has objects, and so it has an instance map.
        classes: id -> (number of objects, number of pixels).
        notes: what could not be drawn as it stands, with counts.
    """

    digest: str = ""
    image: str = ""
    instance: bool = False
    classes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


def read_imports(out: Path) -> tuple[Import, ...] | None:
    """What OUT/import.json says; None if there is none, InputError if no importer wrote it."""
    path = out / NAME
    if not path.exists():
        return None
    try:
        found: Any = read_json(path)
        imports = tuple(Import(**entry) for entry in found["imports"])
        if any(not isinstance(n, str) for one in imports for n in one.names):
            raise TypeError
        return imports
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{path}: is no file of the importer; move it away, or choose another --out"
        ) from error


def write_imports(out: Path, imports: Sequence[Import]) -> None:
    """Write OUT/import.json, completely or not at all."""
    content = {"imports": [asdict(one) for one in imports]}
    with write_aside(out / NAME) as aside:
        aside.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


class Records:
    """What is below `out` of each image, by the image's name below images/."""

    def __init__(self, out: Path) -> None:
        self._path = out / RECORDS
        self._made: dict[str, Made] = {}
        lines = 0
        if self._path.exists():
            for line in require_file(self._path).read_bytes().splitlines():
                lines += 1
                self._made.update(_parse(line))
        if lines > 4 * len(self._made) + 1000:  # as most of the lines are outdated
            with write_aside(self._path) as aside:
                aside.write_bytes(b"".join(_line(*item) for item in self._made.items()))

    def get(self, name: str) -> Made | None:
        """What was made of an image, None if nothing is known of it."""
        return self._made.get(name)

    def add(self, name: str, made: Made) -> None:
        """Note what was made. A full disk loses the note, and the next run makes it again."""
        self._made[name] = made
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            # A line break first: a killed process may have left half a line.
            file.write(b"\n" + _line(name, made))


def digest_of(settings: str, inputs: Sequence[Path]) -> str:
    """A digest of the settings and of the size and time of the inputs; "" if one is missing."""
    try:
        states = [path.stat() for path in inputs]
    except OSError:
        return ""
    text = json.dumps([settings, [[state.st_size, state.st_mtime_ns] for state in states]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(name: str, made: Made) -> bytes:
    return json.dumps({name: asdict(made)}).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Made]:
    """{} for a line that cannot be read: its image is made again."""
    try:
        found = parse_json(line.decode(), "") if line else {}
        return {name: _checked(Made(**entry)) for name, entry in found.items()}
    except (InputError, UnicodeDecodeError, AttributeError, TypeError, ValueError):
        return {}


def _checked(made: Made) -> Made:
    """What a line says, with ids as numbers; ValueError or TypeError if no importer wrote it."""
    if not isinstance(made.digest, str) or not isinstance(made.image, str):
        raise TypeError
    notes = {str(note): int(count) for note, count in made.notes.items()}
    return replace(made, classes=_by_id(made.classes), notes=notes)


def _by_id(classes: Mapping[Any, Any]) -> dict[int, tuple[int, int]]:
    return {int(number): (int(objects), int(pixels))
            for number, (objects, pixels) in classes.items()}  # fmt: skip
