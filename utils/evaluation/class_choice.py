"""Classes by number or name, as people write them. Imports no torch: worker processes need it."""

import re
from collections.abc import Sequence

from data.errors import InputError
from data.files import first_few
from data.names import composed

SHOWN = 40  # names of classes that a message lists
BETWEEN_WORDS = re.compile(r"[\s_/\\-]+")


def find_class(text: str, names: Sequence[str]) -> int | None:
    """The class of that name; None if there is none.

    Upper and lower case are one, and so are blanks, underscores, hyphens and slashes. InputError if
    several classes could be meant.
    """
    if names.count(text) == 1:
        return names.index(text)
    found = [k for k, name in enumerate(names) if _folded(name) == _folded(text)]
    if len(found) > 1:
        both = " and ".join(repr(names[k]) for k in found[:2])
        raise InputError(f"{text!r} could be the classes {both}; write it as one of them")
    return found[0] if found else None


def choose_classes(
    given: Sequence[str] | None, names: Sequence[str], flag: str = "--classes"
) -> tuple[int, ...] | None:
    """The classes that are named, or numbered from 0 on, in their order; None: all.

    InputError for a class that is unknown or named twice.

    Args:
        given: What the flag says; None or nothing: all.
        names: Of all classes.
        flag: For messages.
    """
    if not given:
        return None
    chosen: dict[int, str] = {}
    for text in given:
        k = _class_of(text, names, flag)
        if k in chosen:
            raise InputError(
                f"{flag}: {chosen[k]!r} and {text!r} are the same class, {names[k]!r}; "
                "leave one out"
            )
        chosen[k] = text
    return tuple(sorted(chosen))


def _class_of(text: str, names: Sequence[str], flag: str) -> int:
    named = find_class(text, names)
    number = int(text) if re.fullmatch("[0-9]{1,6}", text) else len(names)
    if named is not None:
        if number < len(names) and number != named:
            raise InputError(
                f"{flag} {text}: is the name of class {named} and the number of {names[number]!r}; "
                f"write {named} or {names[number]!r}"
            )
        return named
    if number >= len(names):
        listed = (f"{k} {name}" for k, name in enumerate(names))
        raise InputError(
            f"{flag} {text}: is no class; expected numbers or names of {first_few(listed, SHOWN)}"
        )
    return number


def _folded(name: str) -> str:
    return BETWEEN_WORDS.sub(" ", composed(name).casefold()).strip()
