"""The model maker: Llama-shaped `.task` files with random weights, the same bytes on every machine."""

from harness.bench.synth.maker import RECIPES, ModelInfo, Recipe, RecipeError, make, size_of

__all__ = ["RECIPES", "ModelInfo", "Recipe", "RecipeError", "make", "size_of"]
