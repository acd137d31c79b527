"""Learning to segment and to register, from label maps and from images without labels (SL-SFGR)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from .. import synthesis
from ..errors import InputError
from ..networks.sl_sfgr import SLSFGRNetwork
from ..overlap import segmentation_loss
from ..synthesis import LabelMap, draw_sample, fractions
from .cases import aligned, draw_pair, load_images
from .recipe import Recipe
from .semi_supervision import Example, pair_losses

# Decides the validation examples, whatever the recipe's seed: runs stay comparable.
VALIDATION_SEED = 20_260_000
# Each held-out map is seen so many times, each time with another contrast.
VALIDATION_ROUNDS = 2


class SemiSupervised:
    """Single images made from label maps at first; then pairs of them, and of real images without labels.

    :param folder: of the training run; keeps the label maps in compact form.
    """

    names = ("similarity", "segmentation", "anatomy")
    score = "validation_dice"
    score_title = "validation Dice"

    def __init__(self, network: SLSFGRNetwork, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.folder = folder
        self.spacing = float(recipe.model.factor)
        self.images: torch.Tensor | None = None

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load label maps and images.

        :raises InputError: there are too few, or one is in both sets.
        """
        files, held_out = self.recipe.files("training_maps"), self.recipe.files("validation_maps")
        if len(files) < 2 or len(held_out) < 2:
            raise InputError("training needs at least two label maps in each of [data] training_maps, validation_maps.")
        both = {file.resolve() for file in files} & {file.resolve() for file in held_out}
        if both:
            raise InputError(f"{min(both)}: is both a training and a validation map; remove it from one of them.")
        maps = synthesis.load_label_maps(files + held_out, self.folder / "label_maps", update)
        maps = [heads.to(self.device) for heads in maps]
        self.training, self.validation = maps[: len(files)], maps[len(files) :]
        if self.recipe.data.training and self.recipe.supervision.real_pairs > 0:
            self.images = aligned(load_images(self.recipe.files("training"), self.spacing, 8), update).to(self.device)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The losses of one random image or pair."""
        settings = self.recipe.supervision
        if step < settings.segmentation_steps:
            return {"segmentation": self._segmentation(generator)}
        moving, fixed = self._pair(generator)
        pseudo_weight = min(1.0, (step - settings.segmentation_steps) / max(1, settings.pseudo_steps))
        losses = pair_losses(self.network, moving, fixed, pseudo_weight)
        losses["roughness"] = self.recipe.model.roughness * losses["roughness"]
        return losses

    def validate(self) -> dict[str, float]:
        """Dice of the segmentation, and of the labels carried over by the field, on the held-out maps."""
        figures: list[dict[str, float]] = []
        for number in range(VALIDATION_ROUNDS * len(self.validation)):
            generator = torch.Generator().manual_seed(VALIDATION_SEED + number)
            first, second = (self.validation[(number + shift) % len(self.validation)] for shift in (0, 1))
            figures.append(self._validated(first, second, generator))
        means = {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}
        parts = [means[name] for name in ("segmentation_dice", "registration_dice") if name in means]
        return means | {"validation_dice": sum(parts) / len(parts)}

    def _segmentation(self, generator: torch.Generator) -> torch.Tensor:
        sample = draw_sample(
            self._labelled(), self.recipe.supervision.shape, self.recipe.synthesis, generator, self.spacing
        )
        return segmentation_loss(self.network.segment(sample.image), self._fractions(sample.labels))

    def _labelled(self) -> list[LabelMap]:
        """The maps whose labels may be seen: the first ones, at least one."""
        return self.training[: max(1, round(self.recipe.supervision.label_fraction * len(self.training)))]

    def _pair(self, generator: torch.Generator) -> tuple[Example, Example]:
        if self.images is not None and float(torch.rand((), generator=generator)) < self.recipe.supervision.real_pairs:
            pair = draw_pair(self.images, self.recipe.augmentation, self.spacing, generator)
            moving, fixed = (Example(image, image, None) for image in pair)
            return moving, fixed
        raise NotImplementedError

    def _fractions(self, labels: torch.Tensor) -> torch.Tensor:
        # With the channels last, the loss reads them without a copy.
        return fractions(labels).contiguous(memory_format=torch.channels_last_3d)

    def _validated(self, first: LabelMap, second: LabelMap, generator: torch.Generator) -> dict[str, float]:
        sample = draw_sample([first], self.recipe.supervision.shape, self.recipe.synthesis, generator, self.spacing)
        found = self.network.segment(sample.image).argmax(dim=1)
        return {"segmentation_dice": _mean_dice(found, fractions(sample.labels).argmax(dim=1))}


def _mean_dice(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean Dice over the structures in ``wanted``."""
    scores = []
    for label in wanted.unique().tolist():
        if label == 0:
            continue
        first, second = found == label, wanted == label
        scores.append(2.0 * float((first & second).sum()) / float(first.sum() + second.sum()))
    return sum(scores) / len(scores)
