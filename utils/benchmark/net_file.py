"""A net by name as a file, so that every engine is opened as it is for a user's own."""

from pathlib import Path

import numpy as np
import torch

from data.errors import InputError
from models import MODELS
from utils.checkpoint import create_model, info_entries, load_model, save_checkpoint
from utils.export.onnx_file import is_onnx, read_onnx_info
from utils.model_info import MAX_CLASSES, ModelInfo


def write_net(
    path: Path, name: str, backbone: str, classes: int, edge_head: str = "none"
) -> ModelInfo:
    """A checkpoint of a net with random weights; InputError for a net that there is not.

    Args:
        path: of the file.
        name: of `models.MODELS`.
        backbone: of the net.
        classes: number of its classes.
        edge_head: of a segmentation net, see `models.joint`.
    """
    entry = MODELS[name]
    if not entry.takes(backbone):
        raise InputError(
            f"--backbone {backbone}: {name} has none of that name; there are "
            f"{', '.join(entry.backbones)}, timm:NAME"
        )
    most = MAX_CLASSES[entry.task]
    if classes > most:
        raise InputError(f"--classes {classes}: {name} has at most {most}")
    torch.manual_seed(0)
    options: dict[str, bool | str] = {} if edge_head == "none" else {"edge_head": edge_head}
    net = create_model(name, num_classes=classes, backbone=backbone, pretrained="none", **options)
    info = ModelInfo(
        name=name,
        backbone=backbone,
        num_classes=classes,
        task=entry.task,
        classes=tuple(f"class {number}" for number in range(classes)),
        palette=np.zeros((classes, 3), np.uint8),
        base_size=0,
        dataset="",
        options=options,
    )
    save_checkpoint(path, {"weights": net.state_dict(), **info_entries(info)})
    return info


def read_info(path: Path, name: str | None, backbone: str | None, dataset: str | None) -> ModelInfo:
    """What a file's net is; CheckpointError for one that cannot be read.

    Args:
        path: a checkpoint or an exported net.
        name, backbone, dataset: as `load` takes them.
    """
    if is_onnx(path):
        return read_onnx_info(path)
    return load_model(path, name=name, backbone=backbone, dataset=dataset)[1]
