"""Small data for predict.py's page."""

from pathlib import Path

import numpy as np

from utils.inference.edge_lines import EdgeChoice
from utils.model_info import ModelInfo
from utils.prediction.page.image_data import edge_data, label_data, page_file, write_image_data
from utils.prediction.page.index import PageHead

PALETTE = np.array([(255, 0, 0), (128, 64, 128), (0, 200, 40)], np.uint8)
CLASSES = ("road", "pavement", "building")
INFO = ModelInfo("dff", "resnet18", 3, "edge", CLASSES, PALETTE, 0, "", thresholds=(0.3, 0.4, None))
SEG_INFO = ModelInfo("fcn", "resnet18", 3, "seg", CLASSES, PALETTE, 0, "")
# Names of files that mean something in HTML, JavaScript, JSON, addresses or templates.
HOSTILE = (
    "plain",
    "a 'quoted' \"name\"",
    "<script>document.title='pwned'</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<!--<script>",
    "100%41 #1&t=50?x=1+1",
    "back\\slash\\u0041",
    "new\nline\u2028",
    "{{script}} ${window.pwned=1}",
    "straße 日本 🚗",
    "__proto__",
    "deep/er/name",
    "no utf-8: \udcff",
)


def head(info: ModelInfo, checkpoint: Path = Path("runs/best.pth")) -> PageHead:
    return PageHead(checkpoint, info, EdgeChoice.of(info) if info.task == "edge" else None)


def write_edges(
    out: Path,
    name: str,
    prob: np.ndarray,
    edges: np.ndarray | None = None,
    info: ModelInfo = INFO,
) -> Path:
    """The data of a grey image. prob: (K, H, W). edges: those drawn; None: from 0.5 on."""
    path = page_file(out, name)
    image = np.full((*prob.shape[1:], 3), 120, np.uint8)
    edges = prob >= 0.5 if edges is None else edges
    write_image_data(path, edge_data(image, prob, edges), info)
    return path


def write_labels(out: Path, name: str, labels: np.ndarray) -> Path:
    path = page_file(out, name)
    image = np.full((*labels.shape, 3), 120, np.uint8)
    write_image_data(path, label_data(image, labels), SEG_INFO)
    return path
