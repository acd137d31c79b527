"""Learning to register from images alone (Li & Fan 2018)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import InputError
from ...losses import LocalCorrelation
from ...spatial.fields import jacobian_determinant, resize_field, warp
from ...synthesis import load_label_maps
from ..data.image_pairs import aligned, draw_pair, load_images, render_images
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe

# Decides what the images made from label maps look like.
RENDERING_SEED = 5


class SelfSupervised:
    """Random pairs of aligned images; the loss is their unlikeness and the fields' roughness.

    :param network: gives fields from coarse to fine.
    :param folder: of the training run; keeps label maps in compact form.
    """

    names = ("registration",)
    score = "validation_likeness"
    score_title = "validation LNCC"

    def __init__(self, network: torch.nn.Module, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.folder = folder
        self.objective = recipe.model.objective()
        self.spacing = float(recipe.model.factor)

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the images, make one more from each label map, and align all of them to the first.

        :raises InputError: there are too few, or an image is in both sets.
        """
        files, held_out = self.recipe.files("training"), self.recipe.files("validation")
        if not held_out:
            raise InputError("training needs at least one image in the recipe's [data] validation.")
        both = {file.resolve() for file in files} & {file.resolve() for file in held_out}
        if both:
            raise InputError(f"{min(both)}: is both a training and a validation image; remove it from one of them.")
        maps = load_label_maps(self.recipe.files("training_maps"), self.folder / "label_maps", update)
        rendered = render_images(
            maps, self.recipe.synthesis, self.spacing, torch.Generator().manual_seed(RENDERING_SEED)
        )
        images = load_images(files + held_out, self.spacing, self.network.size_multiple)
        # The validation images last.
        images = images[: len(files)] + rendered + images[len(files) :]
        count = len(images) - len(held_out)
        if count < 2:
            raise InputError("training needs at least two images; add more to the recipe's [data] training.")
        together = aligned(images, update).to(self.device)
        self.training = together[:count]
        # A training image before the held-out ones, so that each of these has one to be registered to.
        self.validation = together[count - 1 :]

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The loss of one random pair."""
        moving, fixed = draw_pair(self.training, self.recipe.augmentation, self.spacing, generator)
        return {"registration": self.objective(self.network(moving, fixed), moving, fixed)["loss"]}

    def validate(self) -> dict[str, float]:
        """Mean figures over pairs of neighbours, in which the fixed image was never learned from."""
        figures = []
        for moving, fixed in self._held_out():
            fields = self.network(moving, fixed)
            field = resize_field(fields[-1], fixed.shape[2:])
            figures.append(
                {
                    "validation_loss": float(self.objective(fields, moving, fixed)["loss"]),
                    "validation_likeness": 1.0 - float(LocalCorrelation()(warp(moving, field), fixed)),
                    "folding_percent": 100.0 * float((jacobian_determinant(field) <= 0).float().mean()),
                }
            )
        return {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}

    def samples(self) -> list[Sample]:
        """What the network makes of the first of these pairs."""
        pairs = self._held_out()[:COUNT]
        return [registration_sample(moving, fixed, self.network(moving, fixed)[-1]) for moving, fixed in pairs]

    def _held_out(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(zip(self.validation[:-1].split(1), self.validation[1:].split(1), strict=True))
