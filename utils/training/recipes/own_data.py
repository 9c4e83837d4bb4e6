"""Recipes for one's own data (--dataset folder): the net, and nothing that depends on the images.

All else is fitted to the data (`utils.training.recipes.fitted`).
"""

from utils.training.recipes.published import Recipe

_FOLDER: Recipe = {"dataset": "folder", "backbone": "resnet18"}
OWN_DATA_RECIPES: dict[str, Recipe] = {
    "dff-folder": {**_FOLDER, "model": "dff"},
    "casenet-folder": {**_FOLDER, "model": "casenet"},
    "deeplabv3plus-folder": {**_FOLDER, "model": "deeplabv3plus"},
    "deeplabv3plus-folder-decouple": {**_FOLDER, "model": "deeplabv3plus_decouple"},
}
