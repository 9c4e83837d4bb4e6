"""Writing an exported net: checked first, completely or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from data.errors import InputError
from data.files import require_writable, resolved, write_aside
from utils.checkpoint import load_model
from utils.export.check import NOT_CHECKED, check_graph
from utils.export.graph import require_exporter, to_onnx
from utils.metadata import to_metadata
from utils.model_info import ModelInfo

FORMATS = {".onnx": "onnx", ".safetensors": "safetensors"}  # ending -> format

Report = Callable[[str], object]


def format_of(out: Path, chosen: str | None) -> str:
    """The format to write: the one that is chosen, else the one of the file's ending."""
    of_ending = FORMATS.get(out.suffix.lower())
    if (found := chosen or of_ending) is None:
        raise InputError(
            f"--out {out}: its ending says no format; end it in {' or '.join(FORMATS)}, or add "
            "--format"
        )
    if of_ending not in (None, found):
        raise InputError(f"--out {out}: ends as {of_ending}, but --format says {found}")
    return found


def require_free(out: Path, checkpoint: Path, *, overwrite: bool) -> None:
    """InputError unless `out` can be written: before the long part starts."""
    if resolved(out) == resolved(checkpoint):
        raise InputError(f"--out {out}: is the checkpoint itself; choose another file")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; expected the path of a file to write")
    if out.exists() and not overwrite:
        raise InputError(f"--out {out}: exists; choose another file, or add --overwrite")
    require_writable(out.parent)


def write_onnx(
    model: nn.Module, info: ModelInfo, outputs: Sequence[str], out: Path, report: Report
) -> None:
    """Export, check and write; `report` gets a line for each size that was checked."""
    require_exporter()
    content = to_onnx(model, info, outputs)
    checked = check_graph(content, model, outputs)
    if checked is None:
        report(NOT_CHECKED)
    for size, error in checked or ():
        count, height, width = size
        report(f"checked: {count} x {height}x{width}, error {error:.1e} of the largest output")
    with write_aside(out) as aside:
        aside.write_bytes(content)


def write_safetensors(model: nn.Module, info: ModelInfo, out: Path, report: Report) -> None:
    """Write the weights by their own names, read them back and compare."""
    save_file = _save_file()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    outputs = tuple(getattr(model, "outputs", ()))
    # "format" is what other programs ask for: tensors of PyTorch.
    metadata = {"format": "pt", **to_metadata(info, outputs, in_graph=False)}
    with write_aside(out) as aside:
        save_file(tensors, aside, metadata=metadata)
        again, _ = load_model(aside)
        found = again.state_dict()
        wrong = [name for name in tensors if not torch.equal(tensors[name], found[name])]
        if wrong:
            raise InputError(f"{out}: {wrong[0]} reads back changed; nothing is written")
    report(f"checked: {len(tensors)} tensors read back bit for bit")


def _save_file() -> Callable[..., None]:
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise InputError(
            "--format safetensors needs safetensors: pip install safetensors"
        ) from error
    return save_file
