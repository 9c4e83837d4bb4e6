"""A net as an ONNX graph: bytes of images in, logits out, for any number and size of images.

The graph is that of the definition: the exporter folds the batch normalisations itself.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import InputError, users_to_mend
from data.samples.transforms import normalize
from models.backbones import is_timm
from models.joint import EDGE_OUTPUTS, JointNet
from utils.export.forms import with_open_sizes
from utils.metadata import IMAGE, to_metadata
from utils.model_info import ModelInfo

# Two images of odd sides: PyTorch takes a size of 1 for one that is never another. Large enough
# that no map of a net has a side of one pixel, for the same reason.
EXAMPLE = (2, 165, 323, 3)
MOST_BYTES = 2**31 - 1  # of a protobuf message
MAIN = {"edge": "fuse", "seg": "seg"}  # task -> the output that predictions are made of


class ImageToLogits(nn.Module):
    """A net with the normalisation in front of it and some of its outputs behind it."""

    def __init__(self, net: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.outputs = tuple(outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, H, W, 3), RGB -> logits (N, K, H, W) of each output."""
        logits = self.net(normalize(image))
        return tuple(logits[name].contiguous() for name in self.outputs)


def chosen_outputs(model: nn.Module, info: ModelInfo, names: Sequence[str] | None) -> list[str]:
    """The names without repetition, by default the main one; InputError for others."""
    has = tuple(getattr(model, "outputs", ()))
    if names is None:
        return [MAIN[info.task]]
    if wrong := [name for name in names if name not in has]:
        raise InputError(
            f"--outputs {wrong[0]}: {info.name} has no such output; it has {', '.join(has)}"
        )
    return list(dict.fromkeys(names))


def left_out_note(info: ModelInfo, outputs: Sequence[str]) -> str:
    """What is to be said of a graph with these outputs: which task's it lacks; "" if none."""
    lacking = [name for name in outputs_for(info) if name not in outputs]
    if not info.has_edge_head or not lacking:
        return ""
    what = f"the edge head {info.edge_head}" if lacking == [MAIN["edge"]] else "the segmentation"
    if len(lacking) > 1:
        what = "both tasks"
    keep = " ".join(dict.fromkeys([*outputs_for(info), *outputs]))
    return f"note: {what} is left out of the graph; --outputs {keep} keeps it"


def outputs_for(info: ModelInfo) -> list[str]:
    """The outputs that predictions are made of: of a net with an edge head, those of both tasks."""
    return ["seg", "fuse"] if info.has_edge_head else [MAIN[info.task]]


def to_onnx(model: nn.Module, info: ModelInfo, outputs: Sequence[str]) -> bytes:
    """The ONNX file of a net in evaluation mode on the CPU; the net stays as it is.

    Takes some ten seconds. InputError if a package is missing, or the file would be over 2 GB.

    Args:
        model: any of `models.MODELS`.
        info: what it is, for the metadata.
        outputs: the names of its logits that the graph has, the main one first.
    """
    require_exporter()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > MOST_BYTES:
        raise InputError(
            f"{info.net} has {size / 1e9:.2f} GB of weights, and an ONNX "
            "file holds 2; use --format safetensors"
        )
    if isinstance(model, JointNet) and not set(outputs) & set(EDGE_OUTPUTS):
        model = model.without_edge_head()
    net = ImageToLogits(with_open_sizes(model), outputs)
    open_sizes = {IMAGE: dict.fromkeys((0, 1, 2), torch.export.Dim.AUTO)}
    with _quiet(), torch.no_grad(), _refusals(info):
        program = torch.export.export(
            net, (torch.zeros(EXAMPLE, dtype=torch.uint8),), dynamic_shapes=open_sizes
        )
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            input_names=[IMAGE],
            output_names=list(outputs),
        )
    assert exported is not None
    proto = exported.model_proto
    _name_sizes(proto)
    _leave_out_traces(proto)
    for key, value in to_metadata(info, outputs, in_graph=True).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return proto.SerializeToString()


@contextlib.contextmanager
def _refusals(info: ModelInfo) -> Iterator[None]:
    """InputError if PyTorch's exporter cannot take a backbone of timm, as of some transformers."""
    try:
        yield
    except Exception as error:
        if not is_timm(info.backbone) or users_to_mend(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{info.net} cannot be written as an ONNX graph for images of "
            f"any size, PyTorch's exporter says: {reason}; use --format safetensors"
        ) from error


def require_exporter() -> None:
    """InputError unless the packages are there that PyTorch writes ONNX with."""
    try:
        import onnx  # noqa: F401 (only whether it is there)
        import onnxscript  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise InputError(f"writing ONNX needs {error.name}: pip install onnx onnxscript") from error


def _name_sizes(proto: Any) -> None:
    """Call the open sizes N, H and W in the graph's input and outputs, and describe no map inside.

    The descriptions of maps are comments, and would keep PyTorch's own names.
    """
    graph = proto.graph
    del graph.value_info[:]
    for value, names in [(graph.input[0], "NHW"), *((out, "N HW") for out in graph.output)]:
        for dim, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name != " ":
                dim.dim_param = name


def _leave_out_traces(proto: Any) -> None:
    """Remove the lines of code, with paths of this machine, that PyTorch notes at each node."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's warnings, logs and prints about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
