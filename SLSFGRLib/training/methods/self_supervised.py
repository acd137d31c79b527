"""Training on images alone (Li & Fan 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from ...errors import InputError
from ...losses import LocalCorrelation
from ...losses.multiresolution import RESOLUTIONS
from ...registration.network_pyramid import NetworkLevel, rounds_of
from ...spatial.fields import downsample, resize_field, warp
from ...synthesis import load_label_maps
from ..data.image_pairs import align_images, draw_pair, load_images, render_images
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe, refuse_common_files
from .validation import folding_percent, mean_figures

# Decides the images that are made from label maps, whatever the recipe's seed.
RENDERING_SEED = 5


class SelfSupervised:
    """A method that trains on random pairs of aligned images: dissimilarity and regularisation.

    :param network: returns fields from coarse to fine.
    """

    names = ("registration",)
    score = "validation_lncc"
    score_title = "validation LNCC"

    def __init__(self, network: torch.nn.Module, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.folder = folder
        self.objective = recipe.model.objective()
        self.spacing = float(recipe.model.factor)

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the images, make one more from each label map, and align all of them to the first."""
        files, held_out = self.recipe.files("training"), self.recipe.files("validation")
        if not held_out:
            raise InputError("training needs at least one image in the recipe's [data] validation.")
        refuse_common_files(files, held_out)
        maps = load_label_maps(self.recipe.files("training_maps"), self.folder / "label_maps", update)
        generator = torch.Generator().manual_seed(RENDERING_SEED)
        rendered = render_images(maps, self.recipe.synthesis, self.spacing, generator)
        images = load_images(files + held_out, self.spacing, self.network.size_multiple)
        # The validation images last.
        images = images[: len(files)] + rendered + images[len(files) :]
        count = len(images) - len(held_out)
        if count < 2:
            raise InputError("training needs at least two images; add more to the recipe's [data] training.")
        aligned = align_images(images, update).to(self.device)
        self.training = aligned[:count]
        # A training image before the validation images, so that the first of these has one to be registered to.
        self.validation = aligned[count - 1 :]

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the loss of one random pair: that of one round at each resolution, after a random number of rounds."""
        moving, fixed = draw_pair(self.training, self.recipe.augmentation, self.spacing, generator)
        loss, displacement = 0.0, None
        for level in self._levels(moving, fixed):
            before = int(torch.randint(self.recipe.model.rounds, (1,), generator=generator))
            displacement = rounds_of(self.network, level, level.start(displacement), before)
            images = level.moving(displacement), level.fixed
            fields = self.network(*images)
            loss = loss + self.objective(fields, *images)["loss"]
            displacement = level.improved(displacement, fields[-1].detach())
        return {"registration": loss}

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """Return mean figures over pairs of neighbours, whose fixed images are never trained on."""
        return mean_figures(lambda pair: self._figures(network, *pair), self._validation_pairs())

    def samples(self, network: torch.nn.Module) -> list[Sample]:
        """Return the output of a network for the first of these pairs."""
        pairs = self._validation_pairs()[:COUNT]
        return [registration_sample(*pair, self._field(network, *pair)) for pair in pairs]

    def _levels(self, moving: torch.Tensor, fixed: torch.Tensor) -> Iterator[NetworkLevel]:
        """Yield the resolutions of the network for two aligned images, from coarse to fine."""
        for factor in self.recipe.model.factors_for(self.spacing, self.recipe.model.factor):
            warped = partial(warp, downsample(moving, factor))
            yield NetworkLevel(downsample(fixed, factor), warped, self.network.size_multiple)

    @torch.no_grad()
    def _field(self, network: torch.nn.Module, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the network's field after all rounds, in voxels of the images."""
        displacement = None
        for level in self._levels(moving, fixed):
            displacement = rounds_of(network, level, level.start(displacement), self.recipe.model.rounds)
        return resize_field(displacement, fixed.shape[2:])

    def _validation_pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(zip(self.validation[:-1].split(1), self.validation[1:].split(1), strict=True))

    def _figures(self, network: torch.nn.Module, moving: torch.Tensor, fixed: torch.Tensor) -> dict[str, float]:
        field = self._field(network, moving, fixed)
        return {
            "validation_loss": float(self.objective([field] * RESOLUTIONS, moving, fixed)["loss"]),
            "validation_lncc": 1.0 - float(LocalCorrelation()(warp(moving, field), fixed)),
            "folding_percent": folding_percent(field),
        }
