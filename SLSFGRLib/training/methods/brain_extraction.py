"""Training of brain extraction on synthetic images of whole heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from ...io.label_table import read_label_table
from ...losses.dice import soft_dice
from ...losses.segmentation import segmentation_loss
from ...networks.brain_extraction import BrainExtractionNetwork
from ...synthesis import Sample as SyntheticSample
from ...synthesis import Synthesiser
from ...synthesis.rng import whole_number
from ..data.map_sets import load_map_sets
from ..data.validation_pairs import SEED
from ..monitoring.samples import COUNT, Sample
from ..recipe import Recipe
from .validation import mean_figures

CSF = "CSF"
# Images in each step, of one size. With one alone PyTorch convolves small images on a CPU by a slow method.
IMAGES = 2
# Each validation map is drawn this often.
ROUNDS = 6


class BrainExtraction:
    """A method that trains a network to tell brain, CSF around it and all else apart.

    The images differ in their field of view: along each axis from half of the recipe's shape to all of it.
    """

    names = ("extraction",)
    score = "validation_dice"
    score_title = "validation Dice"

    def __init__(self, network: BrainExtractionNetwork, recipe: Recipe, device: torch.device, folder: Path) -> None:
        self.network, self.recipe, self.device, self.folder = network, recipe, device, folder
        self.synthesiser = Synthesiser(recipe.synthesis, recipe.supervision.shape, float(recipe.model.factor))

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the label maps."""
        self.training, self.validation = load_map_sets(self.recipe, self.folder, self.device, update)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the loss of some random images."""
        synthesiser = self._synthesiser(generator)
        samples = [synthesiser.sample(self.training, generator) for _ in range(IMAGES)]
        logits = self.network(torch.cat([sample.image for sample in samples]))
        targets = torch.cat([target(sample.labels) for sample in samples])
        return {"extraction": segmentation_loss(logits, targets.contiguous(memory_format=torch.channels_last_3d))}

    def validate(self, network: BrainExtractionNetwork) -> dict[str, float]:
        """Return the Dice of brain, and of brain with CSF, on validation maps; and the fraction that is missed."""
        return mean_figures(partial(_figures, network), self._validation_samples())

    def samples(self, network: BrainExtractionNetwork) -> list[Sample]:
        """Return the first validation images with their labels and the network's."""
        return [_shown(network, sample) for sample in islice(self._validation_samples(), COUNT)]

    def _synthesiser(self, generator: torch.Generator) -> Synthesiser:
        """Return a generator of images with a random field of view."""
        multiple = self.network.size_multiple
        shape = [
            multiple * (-(-size // multiple // 2) + whole_number(generator, size // multiple // 2 + 1))
            for size in self.recipe.supervision.shape
        ]
        return replace(self.synthesiser, shape=shape)

    def _validation_samples(self) -> Iterator[SyntheticSample]:
        for number in range(ROUNDS * len(self.validation)):
            generator = torch.Generator().manual_seed(SEED + number)
            yield self._synthesiser(generator).sample([self.validation[number % len(self.validation)]], generator)


def target(labels: torch.Tensor) -> torch.Tensor:
    """Return the fraction of each voxel that each of :data:`CLASSES` fills, (1, 3, D, H, W).

    :param labels: (8, D, H, W) uint8, channels of the label table.
    """
    csf = {channel for channel, row in enumerate(read_label_table(), 1) if row.unsided_name == "cerebrospinal fluid"}
    around = torch.stack([labels == channel for channel in csf]).any(0).float().mean(0)
    outside = (labels == 0).float().mean(0)
    return torch.stack([outside, around, 1.0 - outside - around])[None]


@torch.no_grad()
def _figures(network: BrainExtractionNetwork, sample: SyntheticSample) -> dict[str, float]:
    """Return the figures of one image; without brain, both Dice are 1 if none is found."""
    found, true = network(sample.image).softmax(1), target(sample.labels)
    brain, reference = found[:, 2:] > 0.5, true[:, 2:] > 0.5
    head, whole = found[:, :1] < 0.5, true[:, :1] < 0.5
    dice = float(soft_dice(brain.float(), reference.float()))
    missed = float((reference & ~brain).sum() / reference.sum().clamp(min=1))
    return {
        "validation_dice": dice,
        "dice_with_csf": float(soft_dice(head.float(), whole.float())),
        "missed": missed,
        "failed": float(dice < 0.8),
    }


def _shown(network: BrainExtractionNetwork, sample: SyntheticSample) -> Sample:
    found = network(sample.image).argmax(1)[0]
    return {"Image": sample.image[0, 0], "Labels": target(sample.labels).argmax(1)[0], "Segmentation": found}
