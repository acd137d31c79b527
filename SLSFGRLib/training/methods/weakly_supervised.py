"""Training on corresponding labels, for images whose intensities cannot be compared (Hu et al. 2018).

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical Image
Analysis 49, 2018. The network's input is the two images alone. Each step draws a case and, of the labels that both its
images have, one or a few pairs at random: cases may differ in the number and kind of labels, and all cost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from ...errors import InputError
from ...losses import MEASURES
from ...losses.label_overlap import MultiScaleLabelSimilarity
from ...losses.prototypes import feature_dissimilarity
from ...losses.regularisation import PENALTIES
from ...spatial.fields import average_on_grid, resize_field, warp
from ...synthesis import Synthesiser
from ..data.case_files import find_cases
from ..data.label_pairs import (
    LabelledCases,
    LabelledPair,
    SyntheticTrainingPairs,
    TrainingPairs,
    ValidationPairs,
    load_cases,
    synthetic_validation_pairs,
)
from ..data.map_sets import load_map_sets
from ..data.synthetic_pairs import SyntheticImages
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe, refuse_common_files
from .validation import folding_percent, mean_dice, mean_figures


class WeaklySupervised:
    """A method that trains on random pairs of images: the warped labels' dissimilarity, and regularisation.

    :param network: returns fields from coarse to fine.
    """

    names = ("labels",)
    score = "validation_dice"
    score_title = "validation Dice"

    def __init__(self, network: torch.nn.Module, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.folder = folder
        self.spacing = float(recipe.model.factor)
        self.similarity = MEASURES[recipe.model.similarity]()
        self.penalty = PENALTIES[recipe.model.penalty]
        weak = recipe.weak_supervision
        self.label_similarity = MultiScaleLabelSimilarity(weak.label_measure, weak.scales)

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the cases, or the label maps from which pairs of images are made."""
        prepare = self._prepare_cases if self.recipe.data.training_cases else self._prepare_maps
        self.training, self.validation = prepare(update)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the losses of one random pair whose weights are not zero."""
        weak = self.recipe.weak_supervision
        pair = self.training.draw(weak.labels_per_step, generator).to(self.device)
        moving, fixed = self.network.describe(pair.moving, pair.fixed)
        losses = {}
        if weak.feature_weight > 0:
            features = feature_dissimilarity(moving.features, fixed.features, pair.moving_labels, pair.fixed_labels)
            losses["features"] = weak.feature_weight * features
        if step >= weak.feature_steps:
            losses |= self._field_losses(pair, self.network.match(moving, fixed)[-1])
        return losses

    def _field_losses(self, pair: LabelledPair, field: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the losses of a field, on its own grid: it cannot resolve more."""
        weak, model = self.recipe.weak_supervision, self.recipe.model
        shape = field.shape[2:]
        losses = {"roughness": model.roughness * self.penalty(field)}
        if weak.label_weight > 0:
            moving, fixed = average_on_grid(pair.moving_labels, shape), average_on_grid(pair.fixed_labels, shape)
            losses["labels"] = weak.label_weight * self.label_similarity(warp(moving, field, padding="zeros"), fixed)
        if weak.similarity_weight > 0:
            moving, fixed = average_on_grid(pair.moving, shape), average_on_grid(pair.fixed, shape)
            losses["similarity"] = weak.similarity_weight * self.similarity(warp(moving, field), fixed)
        return losses

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """Return the Dice of the labels before and after, and folding, on the validation pairs."""
        return mean_figures(lambda pair: _figures(network, pair.to(self.device)), self.validation())

    def samples(self, network: torch.nn.Module) -> list[Sample]:
        """Return the output of a network for the first of these pairs."""
        pairs = [pair.to(self.device) for pair in islice(self.validation(), COUNT)]
        return [registration_sample(pair.moving, pair.fixed, network(pair.moving, pair.fixed)[-1]) for pair in pairs]

    def _prepare_cases(self, update: Callable[[float], None]) -> tuple[TrainingPairs, ValidationPairs]:
        training, validation = (find_cases(self.recipe.files(f"{part}_cases")) for part in ("training", "validation"))
        if not validation:
            raise InputError("training needs at least one case in the recipe's [data] validation_cases.")
        refuse_common_files([case.fixed for case in training], [case.fixed for case in validation])
        is_aligned = not self.recipe.data.align_cases
        cases = load_cases(training + validation, self.spacing, self.network.size_multiple, is_aligned, update)
        parts = cases[: len(training)], cases[len(training) :]
        training, validation = (LabelledCases(part, self.recipe.augmentation, self.spacing) for part in parts)
        return training, validation.validation_pairs

    def _prepare_maps(self, update: Callable[[float], None]) -> tuple[TrainingPairs, ValidationPairs]:
        training, validation = load_map_sets(self.recipe, self.folder, self.device, lambda fraction: None)
        synthesiser = Synthesiser(self.recipe.synthesis, self.recipe.supervision.shape, self.spacing)
        count, seed = self.recipe.weak_supervision.images, self.recipe.training.seed
        images = SyntheticImages(training, synthesiser, count, seed, update)
        validation_pairs = partial(synthetic_validation_pairs, validation, synthesiser)
        return SyntheticTrainingPairs(images, self.recipe.augmentation), validation_pairs


def _figures(network: torch.nn.Module, pair: LabelledPair) -> dict[str, float]:
    """Return the figures of one validation pair; voxels of which a label fills half or more belong to it."""
    field = resize_field(network(pair.moving, pair.fixed)[-1], pair.fixed.shape[2:])
    warped, reference = warp(pair.moving_labels, field, padding="zeros"), pair.fixed_labels >= 0.5
    return {
        "dice_before": mean_dice(pair.moving_labels >= 0.5, reference),
        "validation_dice": mean_dice(warped >= 0.5, reference),
        "folding_percent": folding_percent(field),
    }
