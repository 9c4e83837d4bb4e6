"""Which images of a folder are in which split: by shares, folders or lists."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from data.dataset_file import DERIVED, NAME, DatasetFile
from data.errors import InputError
from data.files import first_few, read_list
from data.names import IMAGE_ENDINGS, composed


def split_names(root: Path, content: DatasetFile, names: Iterable[str], split: str) -> list[str]:
    """The names of a split's images, sorted; InputError for an unknown or an empty split."""
    splits = content.splits
    if split == "all":
        return sorted(names)
    if split == "trainval" and {"train", "val"} <= splits.keys():
        parts = ("train", "val")
        found = {name for part in parts for name in split_names(root, content, names, part)}
        return sorted(found)
    if split not in splits:
        raise InputError(
            f"{root / NAME} has no split {split!r}; expected one of "
            f"{', '.join((*splits, *DERIVED))}"
        )
    rule = splits[split]
    if isinstance(rule, int | float):
        found = [name for name in names if share_of(content, name) == split]
        advice = "add images, or change its share or the seed"
    elif isinstance(rule, str):
        found = _listed(root / rule, names)
        advice = f"write them into {rule}"
    else:
        found = [name for name in names if _is_below(name, rule)]
        advice = f"expected images below {first_few(f'images/{folder}/' for folder in rule)}"
    if not found:
        raise InputError(f"{root / NAME}: the split {split!r} has no images; {advice}")
    return sorted(found)


def share_of(content: DatasetFile, name: str) -> str:
    """The split that a hash picks for an image, where splits are shares."""
    shares = {key: rule for key, rule in content.splits.items() if isinstance(rule, int | float)}
    folder, slash, _ = name.rpartition("/")
    key = folder if content.by_folder and slash else name
    digest = hashlib.sha256(f"{content.seed} {key}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return split  # rounding at the very end


def _listed(path: Path, names: Iterable[str]) -> list[str]:
    """The images that a list names, with or without their endings."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of images; {NAME} names it")
    available = set(names)

    def parse(line: str) -> str:
        name = composed(line.removeprefix("images/"))
        path = PurePosixPath(name)  # "photo.v2" never means photo.jpg
        ended = path.suffix.lower() in IMAGE_ENDINGS
        for form in (name, path.with_suffix("").as_posix() if ended else name):
            if form in available:
                return form
        raise ValueError("there is no such image below images/")

    return list(dict.fromkeys(read_list(path, parse)))


def _is_below(name: str, folders: Sequence[str]) -> bool:
    return any(folder == "." or name.startswith(f"{folder}/") for folder in folders)
