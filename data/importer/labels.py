"""Which label of a format becomes which class: what --classes and --ignored say, and what is left.

A helper of the readers, for names of labels as the format has them.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from data.errors import InputError
from data.files import first_few
from data.importer.annotations import FIRST_CLASS_ID, IGNORED_ID, FoundClass, ReaderOptions

SHOWN = 20  # labels of a message


class LabelTable:
    """The ids that the labels of a format are drawn with, and what was not taken.

    classes: those of the result.
    """

    def __init__(
        self,
        found: Iterable[FoundClass],
        options: ReaderOptions,
        where: str,
        ignored: Sequence[str] = (),
    ) -> None:
        """Choose the classes.

        Args:
            found: all labels of the format in its order; those of one name are one class.
            options: --classes and --ignored.
            where: the file of the labels, for messages.
            ignored: labels that the format itself says are to be ignored.

        InputError for a label that --classes or --ignored names and the format lacks.
        """
        named = {label_name(entry.name): entry for entry in reversed(list(found))}
        named = dict(reversed(named.items()))
        chosen = [label_name(name) for name in options.classes]
        dropped = {label_name(name) for name in options.ignored}
        for flag, names in (("--classes", chosen), ("--ignored", sorted(dropped))):
            if lacking := [name for name in names if name not in named]:
                raise InputError(
                    f"{where}: has no label {lacking[0]!r} ({flag}); it has "
                    f"{first_few(named, SHOWN)}"
                )
        if twice := [name for name in chosen if chosen.count(name) > 1 or name in dropped]:
            raise InputError(f"--classes: {twice[0]!r} is there twice, or also in --ignored")
        dropped |= {label_name(name) for name in ignored} - set(chosen)
        names = chosen or [name for name in named if name not in dropped]
        self.classes = tuple(FoundClass(name, named[name].color) for name in names)
        self._ids = {name: FIRST_CLASS_ID + k for k, name in enumerate(names)}
        self._ids.update(dict.fromkeys(dropped, IGNORED_ID))
        self._left: Counter[str] = Counter()

    def id_of(self, label: str) -> int | None:
        """The id to draw a label with (above 255 if there are too many); None: it is not taken."""
        name = label_name(label)
        number = self._ids.get(name)
        if number is None:
            self._left[name] += 1
        return number

    def notes(self) -> list[str]:
        """A line about the labels that `id_of` was asked for and that were not taken."""
        if not self._left:
            return []
        return [f"labels not taken: {counted(self._left)}"]


def label_name(name: str) -> str:
    """A label's name as a class has it: without spaces around it, in Unicode's composed form."""
    return unicodedata.normalize("NFC", name.strip())


def counted(counts: Mapping[str, int]) -> str:
    """Names with counts, the most frequent first: "tree (12), bush (3)"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return first_few((f"{name} ({count})" for name, count in ordered), SHOWN)
