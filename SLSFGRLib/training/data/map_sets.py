"""The label maps of a training run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import InputError
from ...synthesis import LabelMap, align_label_maps, load_label_maps
from ..recipe import Recipe, refuse_common_files


def load_map_sets(
    recipe: Recipe, folder: Path, device: torch.device, update: Callable[[float], None]
) -> tuple[list[LabelMap], list[LabelMap]]:
    """Load the training and the validation label maps, and align them to one another.

    :param folder: of the training run, in which the maps are kept in compact form.
    :param update: called with the fraction done.
    :raises InputError: there are fewer than two of a set, one is in both sets, or one cannot be read.
    """
    training, validation = recipe.files("training_maps"), recipe.files("validation_maps")
    if min(len(training), len(validation)) < 2:
        raise InputError("training needs at least two label maps in each of [data] training_maps, validation_maps.")
    refuse_common_files(training, validation)
    maps = align_label_maps(load_label_maps(training + validation, folder / "label_maps", update))
    maps = [label_map.to(device) for label_map in maps]
    return maps[: len(training)], maps[len(training) :]
