"""The images and videos that a user names: finding them, and naming their outputs."""

import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.errors import InputError, one_line
from data.files import first_few, require_file, resolved
from data.names import IMAGE_ENDINGS, VIDEO_ENDINGS, composed, require_own_targets, walk_files
from utils.prediction.inputs import ENDINGS, Given, camera_number, expand

Failures = dict[Path, Exception]  # what cannot be predicted -> why


def find_images(
    inputs: Sequence[Path], out: Path, recursive: bool
) -> tuple[dict[Path, Path], Failures]:
    """({input: its path below the output folder, with its ending}, {input without an image: why}).

    The inputs are images, videos, cameras, folders of the first two, and what `inputs.expand`
    knows. Of a folder: what `data.names.walk_files` finds, but for what lies in `out`. Folders
    below it that may not be read are among the failures. InputError if there is no image at all,
    or if `out` is one of the folders.
    """
    found: dict[Path, Path] = {}
    failures: Failures = {}
    seen: set[Path] = set()
    for word in inputs:
        try:
            given = expand(word, out)
        except (InputError, OSError, ValueError) as error:  # OSError: a name too long
            failures[word] = error
            continue
        for each in given:
            top = each.path
            try:
                inside = _search(each, out, recursive, failures, alone=len(inputs) == 1)
            except FileNotFoundError:
                failures[top] = InputError("no such file")
                continue
            except (InputError, OSError) as error:  # OSError: a name too long, no permission
                failures[top] = error
                continue
            for path, below in inside.items():
                if resolved(path) not in seen:
                    seen.add(resolved(path))
                    found[path] = below
    if not found:
        reasons = [f"{path}: {reason_of(path, error)}" for path, error in failures.items()]
        raise InputError(first_few(reasons, between="; "))
    return found, failures


def _search(
    given: Given, out: Path, recursive: bool, failures: Failures, *, alone: bool
) -> dict[Path, Path]:
    """The images and videos of one input, and where their results go below the output folder.

    alone: it is the only input; else a folder's results go to a folder of its name.
    """
    top = given.path
    if camera_number(top) is not None:
        return {top: Path(str(top).replace(":", ""))}
    if not stat.S_ISDIR(top.stat().st_mode):
        return {_file(top): given.below or Path(top.name)}
    own = Path() if alone else Path(resolved(top).name)
    own = own if given.below is None else given.below
    return {path: own / path.relative_to(top) for path in _in_folder(top, out, recursive, failures)}


def reason_of(path: Path, error: Exception) -> str:
    """Why `path` failed, on one line that does not begin with the path again."""
    return one_line(error).removeprefix(f"{path}: ")


def require_other_folder(inputs: Sequence[Path], out: Path) -> None:
    """InputError if the outputs would lie among the images of one of the inputs."""
    for top in inputs:
        if resolved(top) == resolved(out):
            raise InputError(f"--out {out} is the folder of the images; give another one")


def _file(path: Path) -> Path:
    return require_file(path, "file")


def _in_folder(top: Path, out: Path, recursive: bool, failures: Failures) -> list[Path]:
    out_full = resolved(out)
    unreadable: list[OSError] = []
    images = walk_files(
        top,
        ENDINGS,
        recursive=recursive,
        skip=lambda folder: resolved(folder) == out_full,
        unreadable=unreadable.append,
    )
    failures |= {Path(error.filename): error for error in unreadable}
    if not images and not unreadable:
        raise InputError(
            f"no image in this folder ({' '.join(IMAGE_ENDINGS)}) and no video "
            f"({' '.join(VIDEO_ENDINGS)})"
        )
    return images


def output_names(found: Mapping[Path, Path]) -> dict[Path, str]:
    """The NAME of each input's outputs: its path, without the ending where that is unique.

    found: what `find_images` found. InputError if two inputs would get one name.
    """
    times = Counter(composed(str(path.with_suffix(""))) for path in found.values())
    names = {
        path: str(own if times[composed(str(own.with_suffix("")))] > 1 else own.with_suffix(""))
        for path, own in found.items()
    }
    require_own_targets(names.items())
    return names
