"""Which engine runs a net, and why.

docs/speed.md has the measurements, on two AMD EPYC cores: OpenVINO is 7 to 9 % faster than
PyTorch's folded nets and takes 1.7 to 2.7 times their memory; ONNX Runtime is a little slower than
both. For either a checkpoint is exported first, in some ten seconds. So it runs in PyTorch, which
needs no other package, and an exported net in OpenVINO where that is installed. `compile` waits for
a compiler at every new size and is never chosen by itself.
"""

import importlib.util
from pathlib import Path

from data.errors import InputError

ENGINES = ("torch", "compile", "onnx", "openvino")
# Those that run exported nets, with the packages that they need.
EXPORTED = {"onnx": "onnxruntime", "openvino": "openvino"}
# The first one that is installed is chosen, and why.
FOR_EXPORTED = {
    "openvino": "the fastest for exported nets",
    "onnx": "OpenVINO, which is faster, is not installed",
}


def choose_engine(asked: str, checkpoint: Path, *, exported: bool) -> tuple[str, str]:
    """(engine, reason). InputError for an engine that there is not, or that does not fit the file.

    Args:
        asked: one of ENGINES, or "auto".
        checkpoint: the net's file.
        exported: it is an ONNX file, not a checkpoint.
    """
    if asked != "auto" and asked not in ENGINES:
        raise InputError(f"--engine {asked!r}: expected one of auto, {', '.join(ENGINES)}")
    if asked in EXPORTED and not _installed(asked):  # before a checkpoint is exported for it
        package = EXPORTED[asked]
        raise InputError(f"--engine {asked} needs {package}: pip install {package}")
    if not exported:
        if asked in EXPORTED:
            keep = f"python -m utils.export {checkpoint} --out {checkpoint.with_suffix('.onnx')}"
            return asked, f"exported for this run; {keep} keeps it"
        why = {
            "auto": "the least memory, nothing to export",
            "compile": "the first image takes long",
        }
        return ("torch" if asked == "auto" else asked), why.get(asked, "as asked")
    if asked in EXPORTED:
        return asked, "as asked"
    if asked != "auto":
        raise InputError(
            f"{checkpoint}: is an exported net, which --engine {asked} cannot run; give the "
            f"checkpoint, or --engine {' or '.join(EXPORTED)}"
        )
    for engine, why in FOR_EXPORTED.items():
        if _installed(engine):
            return engine, why
    raise InputError(
        f"{checkpoint}: an exported net needs openvino or onnxruntime: pip install openvino"
    )


def _installed(engine: str) -> bool:
    return importlib.util.find_spec(EXPORTED[engine]) is not None
