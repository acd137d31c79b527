"""Training on a set of images, as a recipe describes it."""

from .recipe import Recipe, read_recipe
from .trainer import Trainer

__all__ = ["Recipe", "Trainer", "read_recipe"]
