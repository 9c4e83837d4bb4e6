"""All numbers of a run as plain data, with what is needed to read them later."""

import statistics
from datetime import datetime
from typing import Any

import torch

from utils.commit import git_commit
from utils.inference.device import pick_device
from utils.model_info import ModelInfo
from utils.training.records import processor_name


def machine_of(device: str) -> dict[str, Any]:
    """Where it ran: device, package, commit and time."""
    place = pick_device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else processor_name()
    return {
        "device": name,
        "torch": torch.__version__,
        "commit": git_commit(),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def report_of(
    info: ModelInfo,
    parameters: int,
    rows: list[dict[str, Any]],
    rates: dict[str, list[float]],
    protocol: list[str],
    machine: dict[str, Any],
) -> dict[str, Any]:
    """Net, protocol, machine, rows.

    Args:
        info: the net.
        parameters: how many it has.
        rows: of `table.plain_row`.
        rates: FLOP/s of the matrix product in each precision, run by run.
        protocol: what was done, line by line.
        machine: of `machine_of`.
    """
    net = {"model": info.name, "backbone": info.backbone, "classes": info.num_classes}
    return {
        "net": net | {"parameters": parameters, "options": info.options},
        "machine": machine,
        "protocol": protocol,
        "matrix_gflop_per_second": {
            precision: statistics.median(values) / 1e9 for precision, values in rates.items()
        },
        "rows": rows,
    }
