"""The flags of `python -m utils.export`."""

import argparse
from collections.abc import Sequence

from data import DATASETS
from data.args import Parser, file_path
from models import MODELS
from models.contract import OUTPUTS
from models.gffnet import FUSIONS
from models.joint import EDGE_HEAD_CHOICES
from utils.args import backbone
from utils.export.write import FORMATS

NET_OPTIONS = ("align_corners", "fusion", "edge_head")
NAMES = tuple(dict.fromkeys(name for sets in OUTPUTS.values() for names in sets for name in names))


def parse_export_args(doc: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`. doc: what `--help` begins with."""
    parser = Parser(
        prog="python -m utils.export",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    boolean = argparse.BooleanOptionalAction
    parser.add_argument("checkpoint", type=file_path, help="of a run, or a published one")
    text = "the file to write: .onnx or .safetensors"
    parser.add_argument("--out", type=file_path, required=True, metavar="FILE", help=text)
    text = "default: by the ending of --out"
    parser.add_argument("--format", choices=tuple(FORMATS.values()), help=text)
    text = "logits that the graph computes (default: fuse for edges, seg for segmentation)"
    parser.add_argument("--outputs", choices=NAMES, nargs="+", metavar="NAME", help=text)
    text = "replace --out if it exists (default: no)"
    parser.add_argument("--overwrite", action=boolean, default=False, help=text)
    group = parser.add_argument_group("for a checkpoint that does not say it")
    group.add_argument("--model", choices=MODELS)
    group.add_argument("--backbone", type=backbone, metavar="NAME")
    group.add_argument("--dataset", choices=DATASETS, help="names the classes")
    text = "of a decoupled net's warp (default: yes; see models/decouple.py)"
    group.add_argument("--align-corners", action=boolean, help=text)
    text = "of gffnet (default: sequential; see models/gffnet.py)"
    group.add_argument("--fusion", choices=FUSIONS, help=text)
    text = "of a segmentation net; none leaves out the one that the checkpoint has"
    group.add_argument("--edge-head", choices=EDGE_HEAD_CHOICES, help=text)
    return parser.parse_args(argv)
