"""The numbers that fitted defaults rest on, taken from the data set, the machine and its cache."""

import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from data.base import Dataset
from data.errors import InputError, one_line
from models.backbones import TIMM, is_timm
from models.contract import BackboneError
from models.imagenet import brought_weights, imagenet_weights, torchvision_file
from models.weight_files import WeightsError
from utils.training.recipes.fitted import Facts
from utils.training.validation import evenly_spaced

SAMPLED = 500  # images whose headers are read
PROBE_SECONDS = 6.0  # until a network that does not answer counts as none
STALLED_SECONDS = 20.0  # until a fetch that stands still is given up


def find_facts(
    train_set: Dataset, val_images: int, *, task: str, device: str, world: int, pretrained: str
) -> Facts:
    """Facts about a training split and this machine; InputError for an image without a header.

    Args:
        train_set: of which the headers of up to SAMPLED images are read.
        val_images: of the validation split.
        task: "edge" or "seg".
        device: "cpu" or "cuda".
        world: ranks.
        pretrained: what the backbone starts from.
    """
    records = train_set.records
    sampled = [records[index] for index in evenly_spaced(len(records), SAMPLED)]
    return Facts(
        task,
        len(records),
        tuple(train_set.image_size(record) for record in sampled),
        train_set.num_classes,
        val_images,
        device,
        usable_cores(),
        gpu_memory() if device == "cuda" else 0.0,
        world,
        pretrained,
    )


def usable_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def gpu_memory() -> float:
    """GiB of the current GPU."""
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30


def find_pretrained(backbone: str, task: str) -> tuple[str, str]:
    """("imagenet", "") if its weights are at hand or can be fetched, else ("none", why not).

    What is fetched stays in torch's cache. A network that does not answer takes seconds.
    """
    try:
        if is_timm(backbone):
            return _find_timm(backbone.removeprefix(TIMM))
        if task == "seg":
            brought_weights(backbone)
        else:
            address, file = torchvision_file(backbone)
            if not file.is_file() and not answers(address):
                return "none", f"no ImageNet weights of {backbone} at {file}, and no network"
            with _fetch_timeout():
                imagenet_weights(backbone)
    except FileNotFoundError:
        return "none", f"no ImageNet weights of {backbone} here (docs/weights.md says where)"
    except (BackboneError, WeightsError, InputError, OSError) as error:
        return "none", one_line(error)
    return "imagenet", ""


def _find_timm(name: str) -> tuple[str, str]:
    """`find_pretrained` of timm's nets, which have the same weights for both tasks."""
    from models.timm_weights import in_hub_cache, net_with_weights, weights_source  # an extra

    source = weights_source(name)
    if not source:
        return "none", f"timm has no weights of {name}"
    if not in_hub_cache(name) and not answers(source):
        return "none", f"no weights of timm:{name} in the hub's cache, and no network"
    net_with_weights(name)
    return "imagenet", ""


def answers(address: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a server answers a request for the file's header, through whatever proxy is set.

    In a thread, as looking up a name has no limit of time.
    """
    found: list[int] = []

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                found.append(answer.status)
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(found)


@contextmanager
def _fetch_timeout() -> Iterator[None]:
    """Torch's fetch takes no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
