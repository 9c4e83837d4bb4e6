"""Mapillary Vistas drawn small."""

import json
from pathlib import Path

import numpy as np
from helpers.bdd import write_jpg
from PIL import Image

from data.image_io import write_png

# Id 0 is a label like any other; ids 1 and 4 are not evaluated.
NAMES = ("Bird", "Ambiguous", "Road", "Car", "Unlabeled")
LABEL = np.array([[0, 0, 2, 2, 3, 3, 3, 3, 1, 4]] * 6, np.uint8)


def config(names: tuple[str, ...] = NAMES) -> str:
    """The text of a config file with these labels."""
    rows = [
        {
            "name": f"object--{name.lower()}",
            "readable": name,
            "color": [3 * place, 20, 30],
            "instances": name in ("Bird", "Car"),
            "evaluate": name not in ("Ambiguous", "Unlabeled"),
        }
        for place, name in enumerate(names)
    ]
    return json.dumps({"labels": rows, "version": 2.0})


def instances() -> np.ndarray:
    """As published: label id * 256 + number. Two cars touch in the middle of the row."""
    coded = LABEL.astype(np.uint16) * 256
    coded[:, 6:8] += 1
    return coded


def mapillary_at(root: Path, version: str = "v2.0", config_name: str = "config_v2.0.json") -> Path:
    """Two images of 10x6 in training and in validation, one in testing, which has no labels."""
    root.mkdir(parents=True, exist_ok=True)
    (root / config_name).write_text(config())
    for part, names in (
        ("training", ("aa", "bb")),
        ("validation", ("cc", "dd")),
        ("testing", ("ee",)),
    ):
        for name in names:
            write_jpg(root / part / "images" / f"{name}.jpg", np.full((6, 10, 3), 90, np.uint8))
        (root / part / version / "labels").mkdir(parents=True)
        for name in names if part != "testing" else ():
            paletted = Image.fromarray(LABEL, "P")
            paletted.putpalette([10, 20, 30] * 256)
            paletted.save(root / part / version / "labels" / f"{name}.png")
            write_png(root / part / version / "instances" / f"{name}.png", instances())
    return root
