"""Training of segmentation and registration on label maps, and on images without labels (SL-SFGR)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from ...losses.segmentation import segmentation_loss
from ...networks.sl_sfgr import SLSFGRNetwork
from ...spatial.fields import resize_field, warp
from ...synthesis import Pair, Synthesiser, partial_volume_labels
from ...synthesis import Sample as SyntheticSample
from ...synthesis.rng import chance, whole_number
from ..data.image_pairs import align_images, draw_pair, load_images
from ..data.label_propagation import LabelledImage, load_labelled_images
from ..data.labelled_images import load_images_with_labels
from ..data.labelled_samples import draw_labelled_sample
from ..data.map_sets import load_map_sets
from ..data.validation_pairs import validation_pairs
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe
from .semi_supervised_losses import Example, pair_losses
from .validation import folding_percent, mean_dice, mean_figures


class SemiSupervised:
    """A method that first trains the segmentation on single synthetic images, then everything on pairs.

    The pairs are synthetic, or of real images without labels.
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
        self.validation_synthesiser = Synthesiser(recipe.synthesis, recipe.supervision.shape, self.spacing)
        self.images: torch.Tensor | None = None
        self.labelled_images: list[list[LabelledImage]] = []

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load label maps and images, and propagate labels to the images."""
        self.training, self.validation = load_map_sets(self.recipe, self.folder, self.device, update)
        supervision = self.recipe.supervision
        if self.recipe.data.training and supervision.real_pairs > 0:
            images = load_images(self.recipe.files("training"), self.spacing, self.network.size_multiple)
            self.images = align_images(images, update).to(self.device)
        if supervision.real_share > 0 and self._segmentation_steps > 0:
            sets = [images for images in self._load_labelled_images(update) if images]
            self.labelled_images = [[image.to(self.device) for image in images] for images in sets]

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the losses of one random image or pair."""
        if step < self._segmentation_steps:
            return {"segmentation": self._segmentation_loss(generator)}
        supervision = self.recipe.supervision
        moving, fixed = self._draw_pair(generator)
        pseudo_weight = min(1.0, (step - self._segmentation_steps) / max(1, supervision.pseudo_steps))
        share = supervision.full_resolution_share
        # Where all pairs do, nothing is drawn: the pairs are those of earlier versions.
        to_full_resolution = share == 1.0 or chance(generator, share)
        losses = pair_losses(self.network, moving, fixed, pseudo_weight, supervision.overlap, to_full_resolution)
        losses["roughness"] = self.recipe.model.roughness * losses["roughness"]
        return losses

    def validate(self, network: SLSFGRNetwork) -> dict[str, float]:
        """Return the Dice of the segmentation, and of labels that the field warps, on validation maps."""
        # A recipe that never learns to register is not judged by its fields.
        registers = self._segmentation_steps < self.recipe.training.steps
        means = mean_figures(lambda pair: _figures(network, pair, registers), self._validation_pairs())
        parts = [means[name] for name in ("segmentation_dice", "registration_dice") if name in means]
        return means | {"validation_dice": sum(parts) / len(parts)}

    def samples(self, network: SLSFGRNetwork) -> list[Sample]:
        """Return the first validation pairs, warped and segmented if there is a segmentation branch."""
        return [_sample(network, pair) for pair in islice(self._validation_pairs(), COUNT)]

    def _load_labelled_images(self, update: Callable[[float], None]) -> Iterator[list[LabelledImage]]:
        """Load the training images with propagated labels, and those that have label maps."""
        data = self.recipe.data
        if data.training:
            maps, folder = self.training[: self._label_count], self.folder / "propagated_labels"
            yield load_labelled_images(self.recipe.files("training"), maps, folder, update)
        if data.labelled_images or data.image_labels:
            yield load_images_with_labels(*map(self.recipe.files, ("labelled_images", "image_labels")), update)

    @property
    def _label_count(self) -> int:
        """The number of maps, the first ones, whose labels are used."""
        fraction = self.recipe.supervision.label_fraction
        return max(round(fraction * len(self.training)), 1 if fraction > 0 else 0)

    @property
    def _all_labelled(self) -> bool:
        """Whether two images can be compared by reference images, which are made from their labels."""
        return self.network.segmenter is not None and self._label_count == len(self.training)

    @property
    def _synthesiser(self) -> Synthesiser:
        """The recipe's synthesis, with one contrast for a pair if labels are missing: two could not be compared."""
        if self._all_labelled:
            return self.validation_synthesiser
        settings = replace(self.recipe.synthesis, same_contrast_chance=1.0)
        return replace(self.validation_synthesiser, settings=settings)

    @property
    def _segmentation_steps(self) -> int:
        """The number of steps that train the segmentation only."""
        supervision = self.recipe.supervision
        can_train = self.network.segmenter is not None and supervision.label_fraction > 0
        return supervision.segmentation_steps if can_train else 0

    def _segmentation_loss(self, generator: torch.Generator) -> torch.Tensor:
        supervision = self.recipe.supervision
        if self.labelled_images and chance(generator, supervision.real_share):
            images = self.labelled_images[whole_number(generator, len(self.labelled_images))]
            image, target = draw_labelled_sample(images, self._synthesiser, generator)
            target = target.contiguous(memory_format=torch.channels_last_3d)
        else:
            sample = self._synthesiser.sample(self.training[: self._label_count], generator)
            image, target = sample.image, _target(sample.labels)
        logits = self.network.segment(image)
        return segmentation_loss(logits, target, supervision.rarity, supervision.overlap)

    def _draw_pair(self, generator: torch.Generator) -> tuple[Example, Example]:
        if self.images is not None and chance(generator, self.recipe.supervision.real_pairs):
            images = draw_pair(self.images, self.recipe.augmentation, self.spacing, generator)
            return tuple(Example(image, image) for image in images)
        pair = self._synthesiser.pair(self.training, generator)
        return self._example(pair.moving, pair.moving_reference), self._example(pair.fixed, pair.fixed_reference)

    def _example(self, sample: SyntheticSample, reference: torch.Tensor) -> Example:
        """Return a synthetic image with its labels, if they are used."""
        reference = reference if self._all_labelled else sample.image
        if sample.number >= self._label_count:
            return Example(sample.image, reference)
        return Example(sample.image, reference, _target(sample.labels), partial_volume_labels(sample.anatomy))

    def _validation_pairs(self) -> Iterator[Pair]:
        return validation_pairs(self.validation, self.validation_synthesiser)


def _sample(network: SLSFGRNetwork, pair: Pair) -> Sample:
    described = [network.describe(sample.image) for sample in (pair.moving, pair.fixed)]
    sample = registration_sample(pair.moving.image, pair.fixed.image, network.match(*described)[-1])
    if described[1].logits is None:
        return sample
    channels = [volume.argmax(dim=1)[0] for volume in (partial_volume_labels(pair.fixed.labels), described[1].logits)]
    return sample | dict(zip(("Labels", "Segmentation"), channels, strict=True))


def _figures(network: SLSFGRNetwork, pair: Pair, registers: bool) -> dict[str, float]:
    """Return the figures of one validation pair, those of its field only if ``registers``."""
    figures, fixed = {}, network.describe(pair.fixed.image)
    if registers:
        labels, reference = (partial_volume_labels(sample.anatomy) for sample in (pair.moving, pair.fixed))
        field = resize_field(network.match(network.describe(pair.moving.image), fixed)[-1], reference.shape[2:])
        figures = {
            "dice_before": mean_dice(_structures(labels), _structures(reference)),
            "registration_dice": mean_dice(_structures(warp(labels, field)), _structures(reference)),
            "folding_percent": folding_percent(field),
        }
    if fixed.logits is not None:
        visible = _structures(partial_volume_labels(pair.fixed.labels))
        figures["segmentation_dice"] = mean_dice(_structures(fixed.logits), visible)
    return figures


def _structures(channels: torch.Tensor) -> torch.Tensor:
    """Return a mask of each structure where its channel is the largest, (1, structures, D, H, W)."""
    largest = channels.argmax(dim=1, keepdim=True)
    return largest == torch.arange(1, channels.shape[1], device=channels.device).view(1, -1, 1, 1, 1)


def _target(labels: torch.Tensor) -> torch.Tensor:
    # With the channels last, the loss reads them without a copy.
    return partial_volume_labels(labels).contiguous(memory_format=torch.channels_last_3d)
