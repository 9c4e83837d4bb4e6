"""gtlabel.json: the settings that the files of edge labels below its folder are made with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import read_json, write_aside

NAME = "gtlabel.json"
MEANING = "meaning"  # the setting with `Dataset.meaning`
OF_EVERY_STAMP = ("radius", "scale")  # a stamp has one of them


@dataclass(frozen=True)
class Stamp:
    """The file, and what it is to hold. A product older than its stamp has other settings."""

    path: Path
    text: str

    @classmethod
    def of(cls, folder: Path, settings: dict[str, Any]) -> "Stamp":
        """The stamp of a folder whose files are made with `settings`."""
        return cls(folder / NAME, json.dumps(settings, indent=1, sort_keys=True) + "\n")

    def write(self) -> None:
        """Write the file, unless it says the same already."""
        if read_stamp(self.path.parent) != json.loads(self.text):
            with write_aside(self.path) as aside:
                aside.write_text(self.text, encoding="utf-8")


def read_stamp(folder: str | Path) -> dict[str, Any] | None:
    """The settings that the labels in a folder were made with; None if it has no stamp.

    InputError if its gtlabel.json is no stamp of a label script.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return None
    settings = read_json(path)
    if not isinstance(settings, dict) or not any(name in settings for name in OF_EVERY_STAMP):
        raise InputError(
            f"{path}: is no stamp of a label script, which names a radius or a scale; move it "
            "away, or choose another folder"
        )
    return settings


def require_same_labels(
    folder: str | Path,
    name: str,
    num_classes: int,
    *,
    instance_sensitive: bool | None,
    meaning: str = "",
) -> None:
    """InputError if the edge labels in a folder are not those of a data set.

    Only what the folder's stamp says is compared: a folder without one passes.

    Args:
        folder: that a label script filled.
        name: of the data set, for the message.
        num_classes: of the data set.
        instance_sensitive: with edges between instances, or without; None: both will do.
        meaning: of the data set, see `Dataset.meaning`.
    """
    settings = read_stamp(folder) or {}
    count = settings.get("num_classes", num_classes)
    sensitive = settings.get("instance_sensitive", instance_sensitive)
    if type(count) is not int or not isinstance(sensitive, bool | None):
        raise InputError(f"{Path(folder) / NAME}: is damaged; make the labels again")
    if count != num_classes:
        raise InputError(
            f"{folder}: holds {count} classes at radius {settings.get('radius')}; {name} has "
            f"{num_classes}; choose the folder of its own edge labels"
        )
    if settings.get(MEANING, meaning) != meaning:
        raise InputError(
            f"{folder}: its edge labels were made before the ids or classes of {name} changed; "
            "make them again with data.gtlabel"
        )
    if instance_sensitive is not None and sensitive != instance_sensitive:
        have, want = ("with", "without") if sensitive else ("without", "with")
        flag = "--instance" if sensitive else "--no-instance"
        raise InputError(
            f"{folder}: holds labels {have} edges between instances; expected labels {want} them; "
            f"make them again, or give {flag}"
        )
