"""Which image is in which split: the command's, the format's own, or shares of a hash."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from data.dataset_file import DEFAULT_SPLITS, DERIVED, SPLIT_NAME, DatasetFile, SplitRule
from data.errors import InputError
from data.folder import share_of

# What tools call the three splits, in lower case.
USUAL = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}
KNOWN = ("train", "val", "test", *USUAL)
SEEDS = 200  # that are tried for shares
MAX_HASHES = 400_000  # about a second
FEWEST = 3  # images, for three splits


@dataclass(frozen=True)
class SplitChoice:
    """What the command says about splits.

    Args:
        split: of --split: all images are in this one.
        shares: of --splits; None: not given.
        seed: of --seed; None: the one whose parts come closest to the shares.
        by_folder: of --split-by; None: not given.
    """

    split: str | None = None
    shares: Mapping[str, float] | None = None
    seed: int | None = None
    by_folder: bool | None = None


@dataclass(frozen=True)
class Placed:
    """names: below images/, one for each entry. folders: the splits, None where shares decide."""

    names: tuple[str, ...]
    folders: dict[str, SplitRule] | None
    notes: tuple[str, ...] = ()


def place(names: Sequence[str], own: Sequence[str | None], choice: SplitChoice) -> Placed:
    """Where each image goes below images/.

    Args:
        names: of the entries.
        own: the format's split of each.
        choice: of the command.
    """
    if choice.split:
        inner = tuple(_below(choice.split, name) for name in names)
        return Placed(inner, {choice.split: (choice.split,)})
    if choice.shares or choice.seed is not None or choice.by_folder is not None:
        ignored = (f"{sum(map(bool, own))} images have a split of the format's, which --splits, "
                   "--seed or --split-by replaces",) if any(own) else ()  # fmt: skip
        return Placed(tuple(names), None, ignored)
    if any(own):
        splits = [split_name(split) if split else None for split in own]
        inner = tuple(_below(s, n) if s else n for s, n in zip(splits, names, strict=True))
        rules: dict[str, SplitRule] = {split: (split,) for split in splits if split}
        rest = splits.count(None)
        return Placed(inner, rules, (f"{rest} images are in no split",) if rest else ())
    return Placed(tuple(names), folder_splits(names))


def folder_splits(names: Iterable[str]) -> dict[str, SplitRule] | None:
    """The splits if all images lie in folders that are called like them, train/ among them."""
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    found = {folder: split_name(folder) for folder in sorted(folders) if folder.lower() in KNOWN}
    if len(found) < len(folders) or "train" not in found.values():
        return None
    rules: dict[str, SplitRule] = {}
    for folder, split in found.items():
        before = rules.get(split, ())
        rules[split] = (*(before if isinstance(before, tuple) else ()), folder)
    return rules


def split_name(given: str) -> str:
    """A split's name as dataset.json may have it: "Validation" is "val"."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", given.strip()).strip("-_.")
    plain = USUAL.get(plain.lower(), plain.lower() if plain.lower() in KNOWN else plain)
    if not SPLIT_NAME.fullmatch(plain) or plain in DERIVED:
        raise InputError(
            f"{given[:40]!r} cannot be the name of a split; expected letters, digits, - and _, and "
            f"neither of {', '.join(DERIVED)}, which are there always"
        )
    return plain


def decide_splits(
    content: DatasetFile,
    names: Sequence[str],
    folders: Mapping[str, SplitRule] | None,
    choice: SplitChoice,
    before: DatasetFile | None,
) -> tuple[DatasetFile, list[str]]:
    """`content` with its splits, and notes.

    Args:
        content: of dataset.json.
        names: of all images below images/.
        folders: of `Placed`: they are added to those of `before`.
        choice: of the command.
        before: what dataset.json says so far, which stays unless the command says otherwise.
    """
    if folders is not None:
        return replace(content, splits=_joined(before, folders)), []
    shares: Mapping[str, SplitRule] = dict(choice.shares or DEFAULT_SPLITS)
    by_folder = bool(choice.by_folder)
    if before and choice.shares is None:
        shares = before.splits
        by_folder = before.by_folder if choice.by_folder is None else by_folder
    content = replace(content, splits=shares, by_folder=by_folder)
    if not _has_shares(content):  # lists or folders that somebody has written there
        return content, []
    return _seeded(content, names, choice.seed, before)


def _seeded(
    content: DatasetFile, names: Sequence[str], seed: int | None, before: DatasetFile | None
) -> tuple[DatasetFile, list[str]]:
    """With the seed whose parts come closest to the shares, unless one is given.

    The same shares keep their seed, and so each image its split, as long as no split is empty.
    """
    seeds = range(max(1, min(SEEDS, MAX_HASHES // max(1, len(names)))))
    if seed is not None:
        seeds = (seed,)
    elif before and (before.splits, before.by_folder) == (content.splits, content.by_folder):
        kept = replace(content, seed=before.seed)
        if not _empty(kept, names):
            return kept, []
    best = min((replace(content, seed=one) for one in seeds), key=lambda c: _distance(c, names))
    if not (empty := _empty(best, names)):
        return best, []
    why = f"of {len(names)} images in all, " if len(names) < FEWEST else ""
    advice = "add images, or give other --splits or another --seed"
    return best, [f"{why}none is in the splits {', '.join(empty)}; {advice}"]


def _joined(before: DatasetFile | None, folders: Mapping[str, SplitRule]) -> dict[str, SplitRule]:
    """The splits of earlier imports and those of this one; one split may have several folders."""
    joined = dict(before.splits) if before and not _has_shares(before) else {}
    for split, rule in folders.items():
        old = joined.get(split, ())
        if not isinstance(old, tuple) or not isinstance(rule, tuple):
            raise InputError(
                f"dataset.json of --out has the split {split!r} as a list; give another --split"
            )
        joined[split] = tuple(dict.fromkeys((*old, *rule)))
    return joined


def _has_shares(content: DatasetFile) -> bool:
    return any(isinstance(rule, float) for rule in content.splits.values())


def _distance(content: DatasetFile, names: Sequence[str]) -> tuple[int, float]:
    """(number of empty splits, how far the parts are from their shares)."""
    counts = Counter(share_of(content, name) for name in names)
    shares = {split: rule for split, rule in content.splits.items() if isinstance(rule, float)}
    total = sum(shares.values())
    far = sum(abs(counts[s] / len(names) - share / total) for s, share in shares.items())
    return len(content.splits) - len(counts), far


def _empty(content: DatasetFile, names: Sequence[str]) -> list[str]:
    counts = Counter(share_of(content, name) for name in names)
    return [split for split in content.splits if not counts[split]]


def _below(split: str, name: str) -> str:
    return name if name.startswith(f"{split}/") else f"{split}/{name}"
