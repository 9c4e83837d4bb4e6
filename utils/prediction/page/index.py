"""The page itself, index.html: what it is of, which images it has, which failed.

Up to EMBEDDED_BYTES the data of all images are in it, so that it can be sent as one file. Above
that, the browser loads page/KEY.js, one image before and one after the one that is shown.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import resolved, write_aside
from utils.inference.drawing import Choice
from utils.inference.edge_lines import EdgeChoice
from utils.model_info import ModelInfo
from utils.prediction.image_files import reason_of
from utils.prediction.page.image_data import (
    FOLDER,
    LEAST,
    page_file,
    page_key,
    read_image_data,
    require_image_data,
)

EMBEDDED_BYTES = 20_000_000
SCRIPTS = ("page_data.js", "page_draw.js", "page_view.js", "page_list.js", "page.js")
# The page loads nothing but itself and its folder, so it works without a network.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class PageHead:
    """What the page says about the run.

    Args:
        checkpoint: its file.
        info: of the net.
        choice: which edges are drawn; None for segmentation.
    """

    checkpoint: Path
    info: ModelInfo
    choice: Choice | None

    @property
    def edges(self) -> EdgeChoice | None:
        """`choice` of edges that a net gives: of outlines, the areas are on the page."""
        return self.choice if isinstance(self.choice, EdgeChoice) else None


def index_file(out: Path) -> Path:
    """The page of an output folder."""
    return out / "index.html"


def require_no_page(out: Path, checkpoint: Path, *, overwrite: bool) -> None:
    """InputError if the page may not be written.

    Args:
        out: the output folder.
        checkpoint: it is never replaced.
        overwrite: replace the page of an earlier run.
    """
    path = index_file(out)
    if resolved(path) == resolved(checkpoint):
        raise InputError(f"{path} would replace the checkpoint; give another --out")
    if path.is_dir():
        raise InputError(f"{path} is a folder, and the page's name; give another --out")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already; give --overwrite or another --out")


def write_page(
    out: Path,
    names: Mapping[Path, str],
    failures: Mapping[Path, Exception],
    head: PageHead,
    *,
    embedded_bytes: int = EMBEDDED_BYTES,
) -> str:
    """Write index.html, when the files of all images are there; returns a line for the terminal.

    Images without a file are left out, and their number is in the line: an earlier run did them
    without the page.

    Args:
        out: the output folder.
        names: NAME of each image, in the order of the page.
        failures: the images that could not be predicted, and why: they are listed instead.
        head: what the page says about the run.
        embedded_bytes: with more data than that, they stay in files of their own.
    """
    failed = dict(failures)
    found = {name: page_file(out, name) for image, name in names.items() if image not in failures}
    files = {name: path for name, path in found.items() if path.is_file()}
    missing = len(found) - len(files)
    embedded = sum(path.stat().st_size for path in files.values()) <= embedded_bytes
    data: dict[str, str] | None = {} if embedded else None
    for image, name in names.items():
        if name not in files:
            continue
        try:
            if data is None:
                require_image_data(files[name], head.info)
            else:
                data[name] = read_image_data(files[name], head.info)
        except (InputError, OSError) as error:
            failed[image] = error
            del files[name]
    text = format_page(list(files), failed, head, data, missing)
    with write_aside(index_file(out)) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
    what = f"{_size(len(text))} in one file" if data is not None else "with the folder page"
    left = f"; {missing} of an earlier run without --page are not in it" if missing else ""
    unfit = len(failed) - len(failures)
    left += f"; {unfit} have data that do not fit, see its list of failures" if unfit else ""
    return f"page: {index_file(out)}, {_images(len(files))}, {what}{left}"


def format_page(
    names: list[str],
    failures: Mapping[Path, Exception],
    head: PageHead,
    data: Mapping[str, str] | None,
    missing: int = 0,
) -> str:
    """The HTML of the page.

    Args:
        names: NAME of each image.
        failures: what could not be predicted, and why.
        head: what the page says about the run.
        data: JSON of each image; None if the browser is to load the files.
        missing: the number of images that an earlier run did without the page.
    """
    own = Path(__file__).parent
    policy = POLICY if data is not None else f"{POLICY} 'self' file:"
    blocks = "".join(
        f'<script type="application/json" id="i{page_key(name)}">{text}</script>\n'
        for name, text in (data or {}).items()
    )
    parts = {
        "policy": policy,
        "title": escape(f"{head.checkpoint.name}: {_images(len(names))}"),
        "heading": escape(head.checkpoint.name),
        "lead": escape(_lead(names, head, missing)),
        "failures": _failures(failures),
        "style": (own / "page.css").read_text(encoding="utf-8"),
        "index": script_json(_index(names, head, data is not None)),
        "data": blocks,
        "script": "".join((own / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    template = (own / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def script_json(value: Any) -> str:
    """JSON in ASCII that can stand in a <script> element: there, only "<" can end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _index(names: list[str], head: PageHead, embedded: bool) -> dict[str, Any]:
    """What the scripts know before they load an image."""
    choice = head.edges
    return {
        "task": head.info.task,
        "both": head.info.task == "seg" and choice is not None,
        "classes": head.info.classes,
        "colors": np.asarray(head.info.palette).tolist(),
        "drawn": "" if choice is None else choice.describe(),
        "lines": choice is not None and choice.lines,
        "least": LEAST,
        "folder": None if embedded else FOLDER,
        "images": [[_shown(name), page_key(name)] for name in names],
    }


def _shown(name: str) -> str:
    """A name as text: bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _lead(names: list[str], head: PageHead, missing: int) -> str:
    info, choice = head.info, head.edges
    words = [f"{datetime.now():%Y-%m-%d %H:%M}", info.net, _images(len(names))]
    if missing:
        words.append(f"{missing} of an earlier run without --page are not here")
    words += ["segmentation"] if info.task == "seg" else []
    words += [] if choice is None else [f"edges: {choice.describe()}"]
    return " · ".join(words)


def _failures(failures: Mapping[Path, Exception]) -> str:
    if not failures:
        return ""
    rows = "".join(
        f"<li>{escape(f'{path}: {reason_of(path, error)}')}</li>"
        for path, error in failures.items()
    )
    return (
        f"<details id=failures><summary>{len(failures)} failed</summary><ul>{rows}</ul></details>"
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, count // 1000)} kB"


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
