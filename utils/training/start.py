"""What training starts from: a checkpoint's weights, with or without its classifier.

Which tensor belongs where, and that none is left out, is `utils.checkpoint`'s. Here the checkpoint
is compared with the net and its classes, so that what does not fit is said in the user's words.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from models.contract import Net
from models.joint import JointNet
from models.weight_files import WeightsError, plain_dict
from models.weights import translate, unwrap
from utils.checkpoint import (
    CheckpointError,
    ModelInfo,
    count_classes,
    edge_head_in,
    is_base_of,
    load_start,
    read_checkpoint,
)
from utils.model_info import net_in_words

# Classifier tensors whose second dimension is never of classes, though it may be as large:
# the backbone's channels, and the four of each of CASENet's groups.
OF_FEATURES = ("side5.0.", "weight_learner.project.0.", "fuse.")
EDGE_HEAD = "edge_head."  # before these, in the names of a segmentation net's edge head


def start_from(
    model: nn.Module,
    path: str | Path,
    *,
    name: str,
    backbone: str,
    classes: tuple[str, ...],
    reset_classifier: bool,
) -> list[str]:
    """Fill a net from a checkpoint, ours or a published one; returns what is to be said about it.

    With `reset_classifier`, all parameters whose shape depends on the number of classes keep their
    initial values, but for those of classes that the checkpoint has under the same name. A
    decoupled net starts from its base net's checkpoint, whatever its classes, with a new head. An
    edge head is kept if both have the same kind of it, else it starts from scratch, or is left out.

    CheckpointError in one line for another architecture, and for other classes without
    `reset_classifier`.
    """
    contents = read_checkpoint(path)
    said = contents.get("model") if "weights" in contents else None
    known = ModelInfo.from_plain(plain_dict(said), path) if isinstance(said, dict) else None
    if known is not None:
        _require_net(path, known, name, backbone)
    try:
        tensors = translate(unwrap(contents))
    except WeightsError as error:
        raise CheckpointError(f"{path} {error}") from error
    theirs_head, own_head = edge_head_in(tensors), edge_head_in(model.state_dict())
    # Of a base net, the edge head alone depends on classes and is taken.
    takes_classes = not is_base_of(model, tensors) or theirs_head == own_head != "none"
    found, own = count_classes(tensors), len(classes)
    other = takes_classes and found not in (None, own)
    # Another architecture is said first, so the classifier is left out before it is asked for.
    new = load_start(model, path, reset_classifier=reset_classifier or other)
    if other and not reset_classifier:
        raise CheckpointError(
            f"{path} is of {found} classes, and the data set has {own}; give --reset-classifier "
            "to start from all of it but the classifier"
        )
    theirs = known.classes if known is not None else ()
    notes = []
    # All of the edge head, if it is not theirs: to list it would hide what else is new.
    of_head = [key for key in new if key.startswith(JointNet.edge_prefixes)]
    if of_head and own_head != theirs_head:
        new = [key for key in new if key not in of_head]
        notes.append(
            f"{path}: the edge head {own_head} starts from its initial values ({len(of_head)} "
            "tensors)"
        )
    if theirs_head not in ("none", own_head):
        count = sum(key.startswith(JointNet.edge_prefixes) for key in tensors)
        this = "has none" if own_head == "none" else f"has {own_head}"
        notes.append(
            f"{path}: its edge head {theirs_head} is left out ({count} tensors): this net {this}"
        )
    if new:
        notes.append(f"{path}: {len(new)} parameters keep their initial values: {', '.join(new)}")
    if reset_classifier and takes_classes and theirs:
        if kept := keep_classes(model, tensors, theirs, classes):
            notes.append(f"of these, classes of the same name have its weights: {', '.join(kept)}")
        if kept := keep_classes(model, tensors, theirs, classes, of=EDGE_HEAD):
            notes.append(f"and in the edge head: {', '.join(kept)}")
    elif takes_classes and theirs and theirs != classes:
        advice = (
            "gives each class its own weights"
            if set(theirs) == set(classes)
            else "starts from all of it but the classifier"
        )
        notes.append(
            f"note: {path} is of the classes {_few(theirs)}, and the data set has {_few(classes)}; "
            f"--reset-classifier {advice}"
        )
    return notes


def _require_net(path: str | Path, known: ModelInfo, name: str, backbone: str) -> None:
    """CheckpointError if a checkpoint of ours says that it holds another net."""
    if known.name in (name, name.removesuffix("_decouple")) and known.backbone == backbone:
        return
    raise CheckpointError(
        f"{path} holds {known.net}, and this run trains {net_in_words(name, backbone)}; give "
        f"--model {known.name} --backbone {known.backbone}, or another checkpoint"
    )


@torch.no_grad()
def keep_classes(
    model: nn.Module,
    tensors: dict[str, Tensor],
    theirs: tuple[str, ...],
    ours: tuple[str, ...],
    *,
    of: str = "",
) -> list[str]:
    """Copy the classifier's weights of each class that both have; returns the names of these.

    Each class has the same number of consecutive channels in the first dimension (DFF's weight
    learner: four), and in the second, where that is of classes too.

    Args:
        model: its classifier has initial values.
        tensors: of the checkpoint, under our names.
        theirs: the checkpoint's classes.
        ours: the net's classes.
        of: EDGE_HEAD: the edge head's classifier instead of the net's own.
    """
    pairs = [(ours.index(name), theirs.index(name)) for name in ours if name in theirs]
    state = model.state_dict()
    keys = [
        key
        for key, value in state.items()
        if key.startswith(cast("Net", model).classifier)
        and key.startswith(EDGE_HEAD) == bool(of)
        and value.ndim
    ]
    widths = {key: state[key].shape[0] // len(ours) for key in keys}
    shapes = {
        key: tuple(
            widths[key] * len(theirs) if place in _class_dimensions(key, state[key]) else size
            for place, size in enumerate(state[key].shape)
        )
        for key in keys
    }
    if not keys or not all(key in tensors and tensors[key].shape == shapes[key] for key in keys):
        return []
    for key in keys if pairs else ():
        own, found = state[key], tensors[key].to(state[key].dtype)
        to, source = (
            torch.tensor(
                [pair[side] * widths[key] + n for pair in pairs for n in range(widths[key])]
            )
            for side in (0, 1)
        )
        if len(_class_dimensions(key, own)) == 2:
            own[to[:, None], to] = found[source[:, None], source]
        else:
            own[to] = found[source]
    return [ours[new] for new, _ in pairs]


def _class_dimensions(key: str, own: Tensor) -> tuple[int, ...]:
    of_features = key.removeprefix(EDGE_HEAD).startswith(OF_FEATURES)
    square = own.ndim > 1 and own.shape[0] == own.shape[1]
    return (0, 1) if square and not of_features else (0,)


def _few(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
