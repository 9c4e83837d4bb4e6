"""Recipes: a name for the settings of a run. They only set defaults, which flags override.

What flags and recipe leave open is fitted to the data: `fitted` chooses from numbers, `facts`
takes the numbers from data set and machine, `choose` joins them with the flags of a run.
"""

from utils.training.recipes.comparison import COMPARISON_RECIPES
from utils.training.recipes.own_data import OWN_DATA_RECIPES
from utils.training.recipes.published import PUBLISHED_RECIPES, Recipe

__all__ = ["RECIPES", "SECOND_STAGES", "Recipe"]

RECIPES: dict[str, Recipe] = PUBLISHED_RECIPES | OWN_DATA_RECIPES | COMPARISON_RECIPES
# Second stages: they start from a trained net, so they ask for --init-from. (BDD's published script
# starts from ImageNet weights.)
SECOND_STAGES = tuple(
    name
    for name in RECIPES
    if name.endswith("-decouple") and name != "deeplabv3plus-r101-bdd-decouple"
)
