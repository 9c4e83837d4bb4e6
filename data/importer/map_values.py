"""What the values of label maps mean: which are classes, background, ignored, or none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.dataset_file import DatasetFile, LabelClass, value_name
from data.errors import InputError
from data.files import first_few
from data.importer.annotations import IGNORED_ID, NONE_ID, FoundClass, ReaderOptions
from data.importer.labels import LabelTable, label_name
from data.visualize import contrasting_colors

IGNORED = ("__ignore__", "ignore", "ignored")  # labels that say so by their names
SHOWN = 20  # names of a note


@dataclass(frozen=True)
class ChosenValues:
    """What the values of maps mean.

    Args:
        classes: in the order of their ids, each with its value.
        ids: value -> the id to draw.
        background: values of what lies between objects, by a class of that name.
        unnamed: the id to draw other values with.
        covers: see `Annotations.covers`.
        notes: on what is left out.
    """

    classes: tuple[tuple[FoundClass, int], ...]
    ids: dict[int, int]
    background: tuple[int, ...]
    unnamed: int
    covers: bool
    notes: list[str]

    @property
    def found(self) -> tuple[FoundClass, ...]:
        """The classes without their values."""
        return tuple(entry for entry, _ in self.classes)


def choose_values(
    named: Sequence[tuple[FoundClass, int]],
    options: ReaderOptions,
    where: object,
    special: Mapping[int, int],
    *,
    covers: bool = True,
) -> ChosenValues:
    """Choose classes by --classes and --ignored, and the ids of their values.

    A class that is called background is no class, but the pixels between objects, unless --classes
    names it. Values without a name are none; with a background, where none would mean that, they
    are ignored.

    Args:
        named: the classes, each with its value.
        options: of the command.
        where: what names the classes, for messages.
        special: values -> ids that hold unless a class has the value, such as 255.
        covers: what the format says.
    """
    kept = set(map(label_name, options.classes))
    behind = {e.name: v for e, v in named if is_background(e.name) and e.name not in kept}
    others = [(entry, value) for entry, value in named if entry.name not in behind]
    table = LabelTable([entry for entry, _ in others], options, str(where), IGNORED)
    ids = {**special, **dict.fromkeys(behind.values(), NONE_ID)}
    values = {}
    left = []
    for entry, value in others:
        number = table.id_of(entry.name)
        ids[value] = NONE_ID if number is None else number
        values[label_name(entry.name)] = value
        left += [entry.name] if number is None else []
    notes = [f"labels not taken: {first_few(left, SHOWN)}"] if left else []
    if ignored := [entry.name for entry, value in others if ids[value] == IGNORED_ID]:
        notes.append(f"labels whose pixels are ignored: {first_few(ignored, SHOWN)}")
    return ChosenValues(
        tuple((entry, values[entry.name]) for entry in table.classes),
        ids,
        tuple(behind.values()),
        NONE_ID if covers and not behind else IGNORED_ID,
        covers and not behind,
        notes,
    )


def as_dataset_file(values: ChosenValues, *, colored: bool) -> DatasetFile:
    """What dataset.json says of maps with these values, as they are."""
    spare = contrasting_colors(len(values.classes)).tolist()
    classes = [
        LabelClass(entry.name, entry.color or tuple(spare[k]), (value,))
        for k, (entry, value) in enumerate(values.classes)
    ]
    background = LabelClass("background", (0, 0, 0), values.background)
    ids = values.ids.items()
    return DatasetFile(
        tuple(classes),
        colored,
        background if values.background else None,
        none=tuple(v for v, number in ids if number == NONE_ID and v not in values.background),
        ignored=tuple(value for value, number in ids if number == IGNORED_ID),
    )


def is_background(name: str) -> bool:
    """Whether a class's name says that it is what lies between objects."""
    return name.strip().strip("_").lower() == "background"


def require_distinct_values(
    named: Sequence[tuple[FoundClass, int]], where: object, *, colored: bool
) -> None:
    """InputError for a name or a value that two classes have."""
    names: dict[int, str] = {}
    for entry, value in named:
        if value in names:
            shown = value_name(value, colored=colored)
            raise InputError(
                f"{where}: {names[value]!r} and {entry.name!r} are both {shown}; remove one"
            )
        names[value] = entry.name
    twice = Counter(label_name(entry.name) for entry, _ in named)
    if again := [name for name, count in twice.items() if count > 1]:
        raise InputError(f"{where}: two values have the name {again[0]!r}; give each its own")


def digest_of(values: ChosenValues) -> str:
    """Text that changes when values get other ids."""
    return repr((sorted(values.ids.items()), values.unnamed))
