"""Recipes of one question: a semantic edge net, or the outlines of a segmentation? docs/results.md.

All nets see the same images, crops and augmentation in the same order of size, and get the same
time: the epochs of the small ones are those that fit into 20 minutes of one core of an AMD EPYC
(seconds of an epoch there, in bfloat16: CASENet 84, DFF 90, DeepLabV3+ 100, decoupled 115, joint
115 to 120). The decoupled net's time is shared between its base net ("half") and itself.
"""

from utils.training.recipes.published import Recipe

_SMALL: Recipe = {
    "dataset": "camvid",
    "data_root": "datasets/CamVid",
    "backbone": "resnet18",
    "pretrained": "none",
    "optimizer": "adamw",
    "lr": 0.0005,
    "weight_decay": 0.01,
    "base_size": 240,
    "crop_size": 160,
    "scale": [0.75, 1.5],
    "color_aug": 0.1,
    "batch_size": 4,
    "amp": "bf16",
}
_SMALL_SEG: Recipe = {**_SMALL, "gblur": False, "class_uniform_pct": 0.0, "images_per_loss": 1}
# At full size, for whoever has GPUs (not run): the published settings of each task, but for the
# crop, the augmentation and the number of epochs, which all have in common.
_FULL: Recipe = {
    "dataset": "cityscapes",
    "data_root": "datasets/cityscapes",
    "backbone": "resnet50",
    "pretrained": "imagenet",
    "base_size": 0,
    "crop_size": 640,
    "scale": [0.75, 2.0],
    "color_aug": 0.1,
    "batch_size": 8,
    "epochs": 80,
}
_FULL_SEG: Recipe = {**_FULL, "gblur": False, "class_uniform_pct": 0.0, "images_per_loss": 1}


def _every(epochs: int) -> Recipe:
    """Validated at the end only: the last checkpoint is the one that is compared."""
    return {"epochs": epochs, "val_every": epochs}


_DEEPLAB = {"model": "deeplabv3plus"}
_DECOUPLED = {"model": "deeplabv3plus_decouple"}
_CASENET_HEAD = {**_DEEPLAB, "edge_head": "casenet"}
_DFF_HEAD = {**_DEEPLAB, "edge_head": "dff"}
_EDGE_LR, _SEG_LR, _SECOND_LR = {"lr": 0.08}, {"lr": 0.01}, {"lr": 0.005}

COMPARISON_RECIPES: dict[str, Recipe] = {
    "compare-casenet": {**_SMALL, "model": "casenet", **_every(14)},
    "compare-dff": {**_SMALL, "model": "dff", **_every(13)},
    "compare-deeplabv3plus": {**_SMALL_SEG, **_DEEPLAB, **_every(12)},
    "compare-deeplabv3plus-half": {**_SMALL_SEG, **_DEEPLAB, **_every(6)},
    "compare-deeplabv3plus-decouple": {
        **_SMALL_SEG,
        **_DECOUPLED,
        **_every(4),
        "lr": 0.00025,
    },
    "compare-joint-casenet": {**_SMALL_SEG, **_CASENET_HEAD, **_every(10)},
    "compare-joint-dff": {**_SMALL_SEG, **_DFF_HEAD, **_every(10)},
    "compare-casenet-cityscapes": {**_FULL, **_EDGE_LR, "model": "casenet"},
    "compare-dff-cityscapes": {**_FULL, **_EDGE_LR, "model": "dff"},
    "compare-deeplabv3plus-cityscapes": {**_FULL_SEG, **_SEG_LR, **_DEEPLAB},
    "compare-deeplabv3plus-half-cityscapes": {**_FULL_SEG, **_SEG_LR, **_DEEPLAB, "epochs": 40},
    "compare-deeplabv3plus-cityscapes-decouple": {
        **_FULL_SEG,
        **_SECOND_LR,
        **_DECOUPLED,
        "epochs": 40,
    },
    "compare-joint-casenet-cityscapes": {**_FULL_SEG, **_SEG_LR, **_CASENET_HEAD},
    "compare-joint-dff-cityscapes": {**_FULL_SEG, **_SEG_LR, **_DFF_HEAD},
}
