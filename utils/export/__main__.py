"""Write a checkpoint's net as an ONNX graph, or as safetensors.

    python -m utils.export best.pth --out net.onnx
    python -m utils.export best.pth --out net.safetensors

The ONNX graph takes images as they are in a file, uint8 (N, H, W, 3) RGB of any number and any size
from 32x32 on, normalises and pads them itself and returns logits (N, K, H, W). It is compared with
PyTorch at several sizes before it is written. Both files carry what the checkpoint says about its
net: see docs/export.md. predict.py and test.py take both as --checkpoint.
"""

from data.errors import quiet_interrupts
from data.system.threads import let_threads_sleep

if __name__ == "__main__":
    quiet_interrupts()  # Ctrl-C during the imports that follow
    let_threads_sleep()

import argparse
import sys
from collections.abc import Sequence

from data.errors import InputError, run
from utils.checkpoint import load_model
from utils.export.args import NET_OPTIONS, parse_export_args
from utils.export.graph import chosen_outputs, left_out_note
from utils.export.onnx_file import require_no_onnx
from utils.export.write import format_of, require_free, write_onnx, write_safetensors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    return parse_export_args(__doc__ or "", argv)


def main(args: argparse.Namespace) -> None:
    """Load, export, check, write."""
    kind = format_of(args.out, args.format)
    if kind == "safetensors" and args.outputs:
        raise InputError("--outputs: safetensors hold weights, not a graph; leave it out")
    require_no_onnx(args.checkpoint, "python -m utils.export")
    require_free(args.out, args.checkpoint, overwrite=args.overwrite)
    options = {name: getattr(args, name) for name in NET_OPTIONS}
    model, info = load_model(
        args.checkpoint,
        name=args.model,
        backbone=args.backbone,
        dataset=args.dataset,
        options={name: value for name, value in options.items() if value is not None},
    )
    outputs = chosen_outputs(model, info, args.outputs)
    if kind == "onnx":
        if note := left_out_note(info, outputs):
            print(note)
        write_onnx(model, info, outputs, args.out, print)
    else:
        write_safetensors(model, info, args.out, print)
    what = f", outputs {' '.join(outputs)}" if kind == "onnx" else ""
    size = args.out.stat().st_size / 2**20
    print(f"{info.net}{what}: {args.out} ({size:.1f} MiB)")


if __name__ == "__main__":
    sys.exit(run(lambda: main(parse_args())))
