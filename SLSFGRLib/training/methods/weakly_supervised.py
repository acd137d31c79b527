"""Learning to register images whose intensities cannot be compared, from corresponding labels (Hu et al. 2018).

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018. The network sees the two images alone. Each step draws a case and, of the labels that both
its images have, one or a few pairs at random: cases may have different ones and any number, and all cost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from ...errors import InputError
from ...losses import MEASURES
from ...losses.dice import soft_dice
from ...losses.label_overlap import MultiScaleLabelSimilarity
from ...losses.prototypes import feature_dissimilarity
from ...losses.regularisation import PENALTIES
from ...spatial.fields import average_on_grid, jacobian_determinant, resize_field, warp
from ...synthesis import in_one_frame, load_label_maps
from ..data.case_files import find_cases
from ..data.label_pairs import DrawnPair, HeldOut, HeldOutPairs, LabelledCases, LabelPairs, RenderedPairs, load_cases
from ..data.synthetic_pairs import RenderedImages
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe


class WeaklySupervised:
    """Random pairs of images; the loss is the unlikeness of their labels under the field, and its roughness.

    :param network: gives fields from coarse to fine.
    :param folder: of the training run; keeps label maps in compact form.
    :raises InputError: the recipe names a measure or penalty that there is not.
    """

    names = ("labels",)
    score = "validation_dice"
    score_title = "validation Dice"

    def __init__(self, network: torch.nn.Module, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.folder = folder
        # Names the measure or penalty that there is not.
        recipe.model.objective()
        self.similarity = MEASURES[recipe.model.similarity]()
        self.penalty = PENALTIES[recipe.model.penalty]
        weak = recipe.weak_supervision
        self.label_similarity = MultiScaleLabelSimilarity(weak.label_measure, weak.scales)

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the cases, or the label maps that pairs of images are made from.

        :raises InputError: there are both or none of them, too few, or one is in both sets.
        """
        self._check()
        kinds = [kind for kind in ("cases", "maps") if getattr(self.recipe.data, f"training_{kind}")]
        if len(kinds) != 1:
            which = "both" if kinds else "neither"
            raise InputError(f"[data]: has {which} training_cases and training_maps; give one of the two.")
        files = [self.recipe.files(f"{part}_{kinds[0]}") for part in ("training", "validation")]
        self.training, self.validation = (self._cases if kinds == ["cases"] else self._maps)(*files, update)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The losses of one random pair, those that count."""
        weak = self.recipe.weak_supervision
        pair = self.training.draw(weak.labels_per_step, generator).to(self.device)
        moving, fixed = self.network.describe(pair.moving, pair.fixed)
        losses = {}
        if weak.feature_weight > 0:
            unlikeness = feature_dissimilarity(moving.features, fixed.features, pair.moving_labels, pair.fixed_labels)
            losses["features"] = weak.feature_weight * unlikeness
        if step >= weak.feature_steps:
            losses |= self._field_losses(pair, self.network.match(moving, fixed)[-1])
        return losses

    def _field_losses(self, pair: DrawnPair, field: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the field is to be blamed for, on its own grid: all that it can tell apart."""
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

    def validate(self) -> dict[str, float]:
        """Dice of the labels before and after, and folding, on the pairs that are never learned from."""
        figures = [self._validated(pair.to(self.device)) for pair in self.validation.held_out()]
        return {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}

    def samples(self) -> list[Sample]:
        """What the network makes of the first of these pairs."""
        pairs = [pair.to(self.device) for pair in islice(self.validation.held_out(), COUNT)]
        return [
            registration_sample(pair.moving, pair.fixed, self.network(pair.moving, pair.fixed)[-1]) for pair in pairs
        ]

    def _check(self) -> None:
        weak = self.recipe.weak_supervision
        if weak.feature_weight < 0 or weak.feature_steps < 0 or (weak.feature_steps and not weak.feature_weight):
            raise InputError(
                "[weak_supervision] feature_weight, feature_steps: must be 0 or more, no steps without a weight."
            )
        if weak.labels_per_step < 1:
            raise InputError("[weak_supervision] labels_per_step: must be 1 or more.")
        if min(weak.label_weight, weak.similarity_weight) < 0 or weak.label_weight + weak.similarity_weight == 0:
            raise InputError(
                "[weak_supervision]: label_weight and similarity_weight must be 0 or more, one of them more."
            )
        if self.recipe.model.pair_steps:
            raise InputError("[model] pair_steps: must be 0, labels being what this method learns from.")

    def _cases(
        self, files: list[Path], held_out: list[Path], update: Callable[[float], None]
    ) -> tuple[LabelPairs, HeldOut]:
        training, validation = find_cases(files), find_cases(held_out)
        if not validation:
            raise InputError("training needs at least one case in the recipe's [data] validation_cases.")
        _refuse_common([case.fixed for case in training], [case.fixed for case in validation])
        data, spacing = self.recipe.data, float(self.recipe.model.factor)
        multiple = self.network.size_multiple
        cases = load_cases(training + validation, spacing, multiple, not data.align_cases, update)
        parts = cases[: len(training)], cases[len(training) :]
        return tuple(LabelledCases(part, self.recipe.augmentation, spacing) for part in parts)

    def _maps(
        self, files: list[Path], held_out: list[Path], update: Callable[[float], None]
    ) -> tuple[LabelPairs, HeldOut]:
        shape, multiple = self.recipe.supervision.shape, self.network.size_multiple
        if len(shape) != 3 or any(size <= 0 or size % multiple for size in shape):
            raise InputError(f"[supervision] shape: must be three multiples of {multiple}, not {list(shape)}.")
        if len(files) < 2 or len(held_out) < 2:
            raise InputError("training needs at least two label maps in each of [data] training_maps, validation_maps.")
        _refuse_common(files, held_out)
        maps = load_label_maps(files + held_out, self.folder / "label_maps")
        maps = [heads.to(self.device) for heads in in_one_frame(maps)]
        spacing, settings = float(self.recipe.model.factor), self.recipe.synthesis
        images = RenderedImages(
            maps[: len(files)],
            shape,
            settings,
            spacing,
            self.recipe.weak_supervision.images,
            self.recipe.training.seed,
            update,
        )
        held_out_pairs = HeldOutPairs(maps[len(files) :], shape, settings, spacing)
        return RenderedPairs(images, self.recipe.augmentation), held_out_pairs

    def _validated(self, pair: DrawnPair) -> dict[str, float]:
        field = resize_field(self.network(pair.moving, pair.fixed)[-1], pair.fixed.shape[2:])
        return {
            "dice_before": _mean_dice(pair.moving_labels, pair.fixed_labels),
            "validation_dice": _mean_dice(warp(pair.moving_labels, field, padding="zeros"), pair.fixed_labels),
            "folding_percent": 100.0 * float((jacobian_determinant(field) <= 0).float().mean()),
        }


def _mean_dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the mean Dice of labels, each the voxels of which it fills at least half; both (1, L, D, H, W)."""
    return float(soft_dice((first >= 0.5).float(), (second >= 0.5).float(), smoothing=1e-6).mean())


def _refuse_common(training: list[Path], validation: list[Path]) -> None:
    both = {file.resolve() for file in training} & {file.resolve() for file in validation}
    if both:
        raise InputError(f"{min(both)}: is used for both training and validation; remove it from one of them.")
