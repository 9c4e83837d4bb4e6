"""Recipes of data sets by name: published settings, and small ones of ours for two CPU cores."""

Recipe = dict[str, object]

# The settings of the published edge runs (Hu et al., IJCAI 2019; the same for CASENet, which that
# paper trains as its baseline).
_CITYSCAPES = {
    "dataset": "cityscapes",
    "data_root": "datasets/cityscapes",
    "backbone": "resnet101",
    "pretrained": "imagenet",
    "epochs": 200,
    "batch_size": 8,
    "lr": 0.08,
    "base_size": 2048,
    "crop_size": 640,
    "scale": [0.75, 2.0],
}
# The published runs train on the whole train list, test on the val list ("test" here) and never
# validate: they took the last checkpoint, so last.pth is the one to compare. Their training images
# are resized beforehand (data.sbd_gtlabel), not here.
_SBD = {
    "dataset": "sbd",
    "train_split": "trainval",
    "val_split": "test",
    "val_samples": 200,
    "data_root": "datasets/sbd",
    "backbone": "resnet101",
    "pretrained": "imagenet",
    "epochs": 10,
    "batch_size": 16,
    "lr": 0.05,
    "base_size": 0,
    "crop_size": 352,
    "scale": [1.0, 1.0],
}
EDGE_RECIPES: dict[str, Recipe] = {
    "dff-cityscapes": {**_CITYSCAPES, "model": "dff"},
    "dff-sbd": {**_SBD, "model": "dff"},
    "casenet-cityscapes": {**_CITYSCAPES, "model": "casenet"},
    "casenet-sbd": {**_SBD, "model": "casenet"},
    # Not published: small settings for two CPU cores, random weights.
    "dff-scenes": {
        "dataset": "scenes",
        "data_root": "datasets/scenes",
        "model": "dff",
        "backbone": "resnet18",
        "pretrained": "none",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "epochs": 12,
        "batch_size": 4,
        "lr": 0.0015,
        # Images of 192x96 that a crop shows from top to bottom.
        "base_size": 192,
        "crop_size": 96,
        "scale": [1.0, 1.25],
        "val_every": 6,
        "val_samples": 20,
        "val_thresholds": 19,
    },
    "dff-camvid-small": {
        "dataset": "camvid",
        "data_root": "datasets/CamVid",
        "model": "dff",
        "backbone": "resnet18",
        "pretrained": "none",
        "epochs": 18,
        "batch_size": 4,
        "lr": 0.02,
        "base_size": 240,
        "crop_size": 160,
        "scale": [0.75, 1.5],
        "val_every": 3,
        "val_samples": 50,
    },
}

# The training scripts of DecoupleSegNets (Li et al., ECCV 2020), on eight GPUs; `batch_size` is
# over all of them and `images_per_loss` is what each had. Where a script leaves a setting to the
# program's default, that is in TASK_DEFAULTS (utils.training.args).
_SEG = {"pretrained": "imagenet", "base_size": 0, "batch_size": 8, "images_per_loss": 1}
_SEG_CITYSCAPES = {
    **_SEG,
    "dataset": "cityscapes",
    "data_root": "datasets/cityscapes",
    "crop_size": 832,
}
_BASE = {**_SEG_CITYSCAPES, "epochs": 80, "lr": 0.01}
_DECOUPLE = {
    **_SEG_CITYSCAPES,
    "epochs": 175,
    "lr": 0.005,
    "class_uniform_pct": 0.5,
    "max_cu_epoch": 150,
}
# Fine-tuning, from weights of Cityscapes (another number of classes: --reset-classifier).
_FINE_TUNE = {
    **_SEG,
    "lr": 0.001,
    "scale": [1.0, 2.0],
    "class_uniform_pct": 0.5,
    "batch_size": 16,
    "images_per_loss": 2,
}
_SEG_CAMVID = {
    **_FINE_TUNE,
    "dataset": "camvid",
    "data_root": "datasets/CamVid",
    "train_split": "trainval",
    # As published: the scores in training are of the test split, so that best.pth is chosen on it.
    # last.pth is not.
    "val_split": "test",
    "epochs": 90,
    "crop_size": 640,
    "class_uniform_tile": 640,
}
_SEG_KITTI = {
    **_FINE_TUNE,
    "dataset": "kitti",
    "data_root": "datasets/kitti",
    "data_option": ["cv=2"],
    "epochs": 90,
    "crop_size": 360,
    "class_uniform_tile": 300,
}
_SEG_BDD = {
    **_FINE_TUNE,
    "dataset": "bdd",
    "data_root": "datasets/bdd100k",
    "crop_size": 720,
    "class_uniform_tile": 720,
}
# Not published: small settings for two CPU cores, random weights.
_SEG_SMALL = {
    "dataset": "camvid",
    "data_root": "datasets/CamVid",
    "backbone": "resnet18",
    "pretrained": "none",
    "base_size": 240,
    "crop_size": 160,
    "scale": [0.75, 1.5],
    "color_aug": 0.1,
    "gblur": False,
    "batch_size": 4,
    "images_per_loss": 1,
    "class_uniform_pct": 0.5,
    "class_uniform_tile": 160,
}


def _decoupled(base: Recipe, **changes: object) -> Recipe:
    return {**base, "model": "deeplabv3plus_decouple", **changes}


SEG_RECIPES: dict[str, Recipe] = {
    # The published script of the FCN base names the decoupled net; ours trains the base.
    "fcn-r50-cityscapes": {
        **_BASE,
        "model": "fcn",
        "backbone": "resnet50",
        "class_uniform_pct": 0.5,
    },
    "fcn-r50-cityscapes-decouple": {**_DECOUPLE, "model": "fcn_decouple", "backbone": "resnet50"},
    # No script of PSPNet is published; these are FCN's settings.
    "pspnet-r50-cityscapes": {
        **_BASE,
        "model": "pspnet",
        "backbone": "resnet50",
        "class_uniform_pct": 0.5,
    },
    "pspnet-r50-cityscapes-decouple": {
        **_DECOUPLE,
        "model": "pspnet_decouple",
        "backbone": "resnet50",
    },
    "deeplabv3plus-r50-cityscapes": {
        **_BASE,
        "model": "deeplabv3plus",
        "backbone": "resnet50",
        "class_uniform_pct": 0.0,
    },
    "deeplabv3plus-r50-cityscapes-decouple": _decoupled(_DECOUPLE, backbone="resnet50"),
    "deeplabv3plus-r101-cityscapes": {
        **_BASE,
        "model": "deeplabv3plus",
        "backbone": "resnet101",
        "class_uniform_pct": 0.0,
    },
    "deeplabv3plus-r101-cityscapes-decouple": _decoupled(_DECOUPLE, backbone="resnet101"),
    "deeplabv3plus-wrn38-cityscapes-decouple": _decoupled(
        _DECOUPLE,
        backbone="wider_resnet38",
        data_option=["cv=2"],
        crop_size=896,
        batch_size=16,
        images_per_loss=2,
        coarse_boost_classes=[14, 15, 16, 3, 12, 17, 4],
    ),
    "deeplabv3plus-r101-camvid-decouple": _decoupled(_SEG_CAMVID, backbone="resnet101"),
    "deeplabv3plus-wrn38-camvid-decouple": _decoupled(_SEG_CAMVID, backbone="wider_resnet38"),
    "deeplabv3plus-r101-kitti-decouple": _decoupled(_SEG_KITTI, backbone="resnet101"),
    "deeplabv3plus-wrn38-kitti-decouple": _decoupled(_SEG_KITTI, backbone="wider_resnet38"),
    # The published script of this base names the decoupled net, too.
    "deeplabv3plus-r101-bdd": {
        **_SEG_BDD,
        "model": "deeplabv3plus",
        "backbone": "resnet101",
        "epochs": 120,
        "lr": 0.01,
    },
    "deeplabv3plus-r101-bdd-decouple": _decoupled(
        _SEG_BDD, backbone="resnet101", epochs=120, batch_size=8, images_per_loss=1
    ),
    "deeplabv3plus-wrn38-bdd-decouple": _decoupled(
        _SEG_BDD, backbone="wider_resnet38", epochs=100, crop_size=688
    ),
    "deeplabv3plus-camvid-small": {
        **_SEG_SMALL,
        "model": "deeplabv3plus",
        "epochs": 20,
        "lr": 0.02,
        "val_every": 4,
    },
    "deeplabv3plus-camvid-small-decouple": _decoupled(_SEG_SMALL, epochs=10, lr=0.01, val_every=2),
}
PUBLISHED_RECIPES: dict[str, Recipe] = EDGE_RECIPES | SEG_RECIPES
