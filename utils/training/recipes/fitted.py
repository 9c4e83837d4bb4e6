"""Defaults by what the data is: flags of `train.py` from the number and the sizes of the images.

Numbers go in, values come out: nothing is read here, and the same numbers give the same values.
What the rules rest on: the small recipes (`published.py`), the published ones, and the runs of
40 images under "Your own images" in docs/training.md. Nothing of the rules for GPUs was run on one.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

# What may be fitted; of these, flags that the user or the recipe gives are taken as given.
FITTED = {
    *("base_size", "crop_size", "scale", "batch_size", "epochs", "lr", "pretrained"),
    *("val_every", "val_samples", "save_every", "workers"),
}
FITTED_SEG = {"color_aug", "gblur", "class_uniform_pct", "class_uniform_tile"}

# Bounds of the long side: the small recipes' (five minutes teach no net what large images hold),
# and Cityscapes' own.
CPU_BASE, GPU_BASE = 240, 2048
CPU_CROP, GPU_CROP = 160, 640  # bounds of the crop's side: the small recipes', the published one
LEAST_CROP = 32
CROP_STEP = 16
SCALE_CPU = [0.75, 1.5]
CPU_BATCH, GPU_BATCH = 4, 8
# Crops of CPU_CROP pixels on a CPU for REFERENCE images: five minutes on two cores with ResNet-18.
REFERENCE, CPU_CROPS = 28, 1290
LEAST_CROPS = 400
GPU_STEPS, MOST_STEPS = 2000, 80_000  # for REFERENCE images; as many as the longest published run
EDGE_LR, SEG_LR = 0.02, 0.02  # of the small recipes, at a batch of 4
IMAGENET_SEG_LR = 0.01  # published
EDGE_LR_OF_IMAGE, MOST_EDGE_LR = 0.005, 0.08
SECOND_STAGE = 0.5  # of the first stage's rate, as published: 0.005 after 0.01
FINE_TUNING = 0.25
MOST_TILE = 1024
# Seconds on two idle cores for a million pixels of a step: of a net with ResNet-18.
SECONDS = {"edge": 9.0, "seg": 10.5, "decoupled": 14.0}
# More of an edge head, at any backbone: measured with eleven classes (on one core, 20.0 without a
# head, 21.0 and 22.7 with one; half of that on two).
HEAD_SECONDS = {"none": 0.0, "casenet": 0.5, "dff": 1.4}
# How much longer other backbones take.
COST = {
    **{"resnet18": 1.0, "resnet34": 1.8, "resnet50": 2.8, "resnet101": 3.7, "resnet152": 5.5},
    "wider_resnet38": 9.5,
}
OTHERS_COST = COST["resnet50"]  # of timm's, which were not measured
PIXELS_PER_GIB = 150_000  # of a GPU's memory, with ResNet-18


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Args:
        task: "edge" or "seg".
        images: of the training split.
        sizes: (H, W) of some of them, at equal distances in the split.
        classes: of the task.
        val_images: of the validation split; 0: there is nothing to validate on.
        device: "cpu" or "cuda".
        cores: that this process may use.
        gpu_gib: memory of a GPU.
        world: ranks.
        pretrained: the backbone's first weights, of `find_pretrained`.
    """

    task: str
    images: int
    sizes: tuple[tuple[int, int], ...]
    classes: int = 1
    val_images: int = 0
    device: str = "cpu"
    cores: int = 2
    gpu_gib: float = 16.0
    world: int = 1
    pretrained: str = "none"

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"


@dataclass
class Fitted:
    """The flags chosen, in the order in which they are printed, and why, in few words.

    values: all flags, given and chosen. chosen: names of those that were open.
    """

    values: dict[str, Any]
    chosen: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def fit(facts: Facts, flags: Mapping[str, Any], open_flags: Collection[str]) -> Fitted:
    """Choose the open flags; each choice sees those before it, and whatever was given.

    Args:
        facts: about data and machine.
        flags: all flags of the command, the open ones with their usual defaults.
        open_flags: names of those that neither the user nor the recipe gave.
    """
    fitted = Fitted(dict(flags))

    def choose(name: str, value: object, reason: str = "") -> None:
        if name in open_flags:
            fitted.values[name] = value
            fitted.chosen.append(name)
            if reason:
                fitted.reasons.append(reason)

    values = fitted.values
    choose("base_size", *_base_size(facts))
    choose("crop_size", *_crop_size(facts, values))
    if facts.on_cpu:
        choose("scale", SCALE_CPU)
    choose("batch_size", *_batch_size(facts, values))
    choose("epochs", _epochs(facts, values))
    choose("pretrained", facts.pretrained)
    choose("lr", *_learning_rate(facts, values))
    if facts.task == "seg":
        if facts.on_cpu:
            choose("color_aug", 0.1)
            choose("gblur", False)
        choose("class_uniform_pct", *_class_uniform_share(facts))
        choose("class_uniform_tile", min(MOST_TILE, values["crop_size"]))
    epochs = values["epochs"]
    validations = 4 if facts.on_cpu else 10
    choose("val_every", math.ceil(epochs / validations) if facts.val_images else 0)
    most = 50 if facts.on_cpu else 200
    choose("val_samples", most if facts.val_images > most else 0)
    choose("save_every", math.ceil(epochs / 20))
    choose("workers", workers_for(facts.device, facts.cores))
    return fitted


def _base_size(facts: Facts) -> tuple[int, str]:
    bound = CPU_BASE if facts.on_cpu else GPU_BASE
    long_sides = sorted(max(size) for size in facts.sizes)
    if long_sides[-1] <= bound:
        return 0, ""
    base = min(bound, long_sides[len(long_sides) * 3 // 4])  # of mixed sizes rather the larger
    reason = f"base {base}: small images, for a short run; thin structures need larger ones"
    return base, reason if facts.on_cpu else ""


def short_side(facts: Facts, base_size: int) -> int:
    """The short side, after the base size, that nine images of ten have at least."""
    sides = sorted(
        min(size) * (base_size / max(size) if base_size else 1.0) for size in facts.sizes
    )
    return int(sides[len(sides) // 10] + 0.5)


def _crop_size(facts: Facts, values: Mapping[str, Any]) -> tuple[int, str]:
    side = short_side(facts, values["base_size"])
    bound = CPU_CROP
    if not facts.on_cpu:
        # Two images of the crop's size at least must fit into a GPU's memory.
        bound = min(GPU_CROP, math.isqrt(_gpu_pixels(facts, values) // 2))
    crop = max(LEAST_CROP, min(side, bound) // CROP_STEP * CROP_STEP)
    return crop, f"crop {crop}: no larger than most images ({side})" if side < bound else ""


def _gpu_pixels(facts: Facts, values: Mapping[str, Any]) -> int:
    return int(facts.gpu_gib * PIXELS_PER_GIB / COST.get(values["backbone"], OTHERS_COST))


def _batch_size(facts: Facts, values: Mapping[str, Any]) -> tuple[int, str]:
    """A multiple of what the ranks divide it by, no more than there are images."""
    unit = facts.world * values["accumulate"]
    if facts.task == "seg":
        unit *= max(1, values["images_per_loss"])
    target = CPU_BATCH * facts.world
    if not facts.on_cpu:
        of_gpu = max(2, _gpu_pixels(facts, values) // values["crop_size"] ** 2)
        target = min(max(GPU_BATCH, facts.world), of_gpu * facts.world)
    batch = max(unit, min(target, facts.images) // unit * unit)
    if batch < target and facts.images < target:
        return batch, f"batch {batch}: there are {facts.images} images"
    return batch, ""


def steps_of(facts: Facts, values: Mapping[str, Any]) -> int:
    """The steps that a run should have: they grow with the root of the number of images."""
    growth = math.sqrt(facts.images / REFERENCE)
    batch = values["batch_size"]
    if facts.on_cpu:
        # Small crops are cheap; but a step of them teaches less.
        crops = CPU_CROPS * growth * CPU_CROP / min(values["crop_size"], 4 * CPU_CROP)
        return math.ceil(max(LEAST_CROPS, crops) / batch)
    steps = GPU_STEPS * growth * GPU_BATCH / batch
    return math.ceil(min(max(steps, GPU_STEPS / 2), MOST_STEPS))


def _epochs(facts: Facts, values: Mapping[str, Any]) -> int:
    steps = max(1, facts.images // values["batch_size"])
    epochs = max(1, math.ceil(steps_of(facts, values) / steps))
    if facts.task == "seg" and values["lr_schedule"] == "scl-poly":
        return max(epochs, values["rlx_off_epoch"] + 1)
    return epochs


def _learning_rate(facts: Facts, values: Mapping[str, Any]) -> tuple[float, str]:
    batch = values["batch_size"]
    if facts.task == "edge":
        rate = min(MOST_EDGE_LR, max(EDGE_LR, EDGE_LR_OF_IMAGE * batch))
    else:
        rate = IMAGENET_SEG_LR if values["pretrained"] != "none" else SEG_LR
    if not values["init_from"]:
        return round(rate, 6), ""
    second = values["model"].endswith("_decouple")
    factor = SECOND_STAGE if second else FINE_TUNING
    rate = round(rate * factor, 6)
    return rate, f"lr {rate:g}: lower, as the net is trained already (--init-from)"


def _class_uniform_share(facts: Facts) -> tuple[float, str]:
    """Half of the crops, as published, unless that is less than one for a class."""
    if facts.images // 2 < facts.classes:
        return 0.0, f"class-uniform 0: fewer than two images for each of {facts.classes} classes"
    return 0.5, ""


def workers_for(device: str, cores: int) -> int:
    """Loader processes of a rank; on a CPU the net needs the cores."""
    return min(4, cores // 2) if device == "cpu" else max(1, min(8, cores - 1))


def steps_in_all(facts: Facts, values: Mapping[str, Any]) -> int:
    """The steps of the run."""
    return values["epochs"] * max(1, facts.images // values["batch_size"])


def cpu_minutes(facts: Facts, values: Mapping[str, Any]) -> float:
    """How long the run's steps take on two idle cores."""
    kind = "decoupled" if values["model"].endswith("_decouple") else facts.task
    pixels = steps_in_all(facts, values) * values["batch_size"] * values["crop_size"] ** 2
    seconds = (
        SECONDS[kind] * COST.get(values["backbone"], OTHERS_COST)
        + HEAD_SECONDS[values.get("edge_head", "none")]
    )
    return pixels / 1e6 * seconds / 60
