"""Arrays made of many files, kept in the user's cache folder until one of these files changes.

The data set's own folder is left as it is. The path of a kept array holds digests of the data set's
folder and of what the array depends on, the files' sizes and times among it, so a stale one is
never read. It is written completely or not at all, so any number of processes may do so at once.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.files import reading, resolved, write_aside

CACHE = "semantic-edges"  # the folder below ~/.cache


@dataclass(frozen=True)
class CacheEntry:
    """What is kept.

    Args:
        kind: the folder for arrays of this kind.
        name: begins the name of the file.
        root: folder of the data set.
        settings: all that the array depends on beside the files; a version of the format, too.
        files: that it is made of.
    """

    kind: str
    name: str
    root: Path
    settings: str
    files: Iterable[Path]

    def path(self) -> Path:
        """The file below a folder of `cache_folders`."""
        place = hashlib.sha256(os.fsencode(resolved(self.root))).hexdigest()[:16]
        digest = hashlib.sha256(f"{self.settings}\n".encode())
        for path in self.files:
            found = path.stat()
            state = f"{os.path.relpath(path, self.root)} {found.st_size} {found.st_mtime_ns}\n"
            digest.update(os.fsencode(state))
        return Path(place, f"{self.name}-{digest.hexdigest()[:16]}.npz")


def cached_array(
    entry: CacheEntry,
    make: Callable[[], np.ndarray],
    is_right: Callable[[np.ndarray], bool],
    *,
    folder: Path | None = None,
) -> np.ndarray:
    """The kept array, or the one that `make` returns, which is then kept.

    Args:
        entry: what is kept.
        make: makes it.
        is_right: whether a kept array can be one; if not, it is made again.
        folder: to keep it in, instead of those of `cache_folders`.
    """
    path = entry.path()
    places = [folder / path.name] if folder else [top / path for top in cache_folders(entry.kind)]
    for place in places:
        kept = _read(place)
        if kept is not None and is_right(kept):
            return kept
    made = make()
    _keep(made, places)
    return made


def cache_folders(kind: str) -> list[Path]:
    """Where arrays of a kind are kept, the best place first.

    $XDG_CACHE_HOME or ~/.cache, and for a user without a home, or with one that cannot be written,
    a temporary folder of this user's.
    """
    folders = []
    given = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):  # no home
        # The standard: a relative path is to be ignored.
        folders.append(Path(given) if Path(given).is_absolute() else Path.home() / ".cache")
    found = [top / CACHE / kind for top in folders]
    user = os.getuid() if hasattr(os, "getuid") else "user"
    temporary = Path(tempfile.gettempdir(), f"{CACHE}-{user}")
    # Anybody can make folders there.
    if not temporary.exists() or user in ("user", temporary.stat().st_uid):
        found.append(temporary)
    return found


def _read(path: Path) -> np.ndarray | None:
    """A kept array; None if there is none, or if the file is damaged."""
    if not path.is_file():
        return None
    # A zip archive has checksums.
    with (
        contextlib.suppress(OSError, InputError, MemoryError),
        reading(path),
        np.load(path, allow_pickle=False) as stored,
    ):
        return stored["index"]
    return None


def _keep(array: np.ndarray, places: Sequence[Path]) -> None:
    """Write the array into the first of the places that can be written.

    If none can, the next run makes it again.
    """
    for place in places:
        with contextlib.suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with write_aside(place) as aside, aside.open("wb") as file:
                np.savez(file, index=array)
            return
