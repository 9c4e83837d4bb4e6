"""What the files below a folder of labels were made of, so that a later run knows what is stale.

OUT/gtlabel-inputs.jsonl has a line for each job that was done: {"a_edge.png": "5d41402abc4b2a76"},
the first file of each product with a digest of the settings and of the size and time of all inputs.
"Newer than its inputs" would not do: a corrected map that `unzip` or `cp -p` puts in place of a
wrong one is often older than the label.

Lines are appended one at a time, so a killed run loses none, and two scripts may write below one
folder. Of two lines about one product the later one counts. A line that cannot be read counts as
none, and a product without a line is compared by time.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import parse_json, require_file, write_aside

NAME = "gtlabel-inputs.jsonl"
SPARE_ENTRIES = 1000  # outdated ones that a file may have before it is written without them


class Records:
    """The digests of the products below `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / NAME
        self._digests: dict[str, str] = {}
        entries = 0
        if self.path.exists():
            for line in require_file(self.path).read_bytes().splitlines():
                found = _digests_in(line)
                entries += len(found)
                self._digests.update(found)
        if entries > 2 * len(self._digests) + SPARE_ENTRIES:
            with write_aside(self.path) as aside:
                aside.write_bytes(
                    b"".join(_line({name: digest}) for name, digest in self._digests.items())
                )

    def digest(self, product: Path) -> str | None:
        """The digest that a product was made with, None if that is not known."""
        return self._digests.get(self._name(product))

    def add(self, digests: Mapping[Path, str]) -> None:
        """Note the digests of products that have been made.

        A full disk, which the products will report, loses the note and nothing else.
        """
        named = {self._name(path): digest for path, digest in digests.items()}
        self._digests.update(named)
        with contextlib.suppress(OSError), self.path.open("ab", buffering=0) as file:
            # A line break first: a killed process may have left half a line.
            file.write(b"\n" + _line(named))

    def _name(self, product: Path) -> str:
        return product.relative_to(self.out).as_posix()


def digest_of(settings: str, inputs: Sequence[Path]) -> str | None:
    """A digest of the settings and of the size and time of the inputs; None if one is missing."""
    try:
        states = [path.stat() for path in inputs]
    except OSError:
        return None
    text = json.dumps([settings, [[state.st_size, state.st_mtime_ns] for state in states]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(digests: Mapping[str, str]) -> bytes:
    return json.dumps(digests).encode() + b"\n"


def _digests_in(line: bytes) -> dict[str, str]:
    try:
        found = parse_json(line.decode(), "") if line else {}
    except (InputError, UnicodeDecodeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: digest for name, digest in found.items() if isinstance(digest, str)}
