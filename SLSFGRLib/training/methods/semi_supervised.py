"""Learning to segment and to register, from label maps and from images without labels (SL-SFGR)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import synthesis
from ...errors import InputError
from ...evaluation.metrics import dice_by_label
from ...losses.segmentation import segmentation_loss
from ...networks.sl_sfgr import SLSFGRNetwork
from ...spatial.fields import jacobian_determinant, resize_field, warp
from ...synthesis import Synthesis, fractions
from ...synthesis.rng import chance
from ..data.image_pairs import aligned, draw_pair, load_images
from ..data.label_propagation import LabelledImage, load_labelled_images
from ..data.labelled_samples import draw_labelled_sample
from ..monitoring.samples import COUNT, Sample, registration_sample
from ..recipe import Recipe
from .semi_supervised_losses import Example, pair_losses

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
        self.carried: list[LabelledImage] = []

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load label maps and images.

        :raises InputError: there are too few, or one is in both sets, or the network cannot learn from them.
        """
        self._check()
        files, held_out = self.recipe.files("training_maps"), self.recipe.files("validation_maps")
        if len(files) < 2 or len(held_out) < 2:
            raise InputError("training needs at least two label maps in each of [data] training_maps, validation_maps.")
        both = {file.resolve() for file in files} & {file.resolve() for file in held_out}
        if both:
            raise InputError(f"{min(both)}: is both a training and a validation map; remove it from one of them.")
        maps = synthesis.load_label_maps(files + held_out, self.folder / "label_maps", update)
        maps = [heads.to(self.device) for heads in synthesis.in_one_frame(maps)]
        self.training, self.validation = maps[: len(files)], maps[len(files) :]
        if self.recipe.data.training and self.recipe.supervision.real_pairs > 0:
            images = load_images(self.recipe.files("training"), self.spacing, self.network.size_multiple)
            self.images = aligned(images, update).to(self.device)
        if self.recipe.data.training and self.recipe.supervision.real_share > 0 and self._warm_up > 0:
            labelled = self.training[: self._labelled]
            carried = load_labelled_images(
                self.recipe.files("training"), labelled, self.folder / "carried_labels", update
            )
            self.carried = [image.to(self.device) for image in carried]

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The losses of one random image or pair."""
        if step < self._warm_up:
            return {"segmentation": self._segmentation(generator)}
        supervision = self.recipe.supervision
        moving, fixed = self._pair(generator)
        pseudo_weight = min(1.0, (step - self._warm_up) / max(1, supervision.pseudo_steps))
        losses = pair_losses(self.network, moving, fixed, pseudo_weight, supervision.overlap)
        losses["roughness"] = self.recipe.model.roughness * losses["roughness"]
        return losses

    def validate(self) -> dict[str, float]:
        """Dice of the segmentation, and of the labels carried over by the field, on the held-out maps."""
        figures = [
            self._validated(self._held_out(number)) for number in range(VALIDATION_ROUNDS * len(self.validation))
        ]
        means = {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}
        parts = [means[name] for name in ("segmentation_dice", "registration_dice") if name in means]
        return means | {"validation_dice": sum(parts) / len(parts)}

    def samples(self) -> list[Sample]:
        """What the network makes of the first held-out pairs; without a segmentation branch, the images alone."""
        return [self._sample(self._held_out(number)) for number in range(COUNT)]

    @property
    def _labelled(self) -> int:
        """How many of the maps, the first ones, have labels that may be seen."""
        fraction = self.recipe.supervision.label_fraction
        return max(round(fraction * len(self.training)), 1 if fraction > 0 else 0)

    @property
    def _labels_for_all(self) -> bool:
        """Whether two images may be compared by what their labels say they show."""
        return self.network.segmenter is not None and self._labelled == len(self.training)

    @property
    def _synthesis(self) -> Synthesis:
        """How images are made: where labels are missing, two of unlike contrasts could not be compared."""
        drawn = self.recipe.synthesis
        return drawn if self._labels_for_all else replace(drawn, same_contrast_chance=1.0)

    @property
    def _warm_up(self) -> int:
        """How many steps learn the segmentation only."""
        supervision = self.recipe.supervision
        can_learn = self.network.segmenter is not None and supervision.label_fraction > 0
        return supervision.segmentation_steps if can_learn else 0

    def _check(self) -> None:
        """Refuse a recipe that cannot be followed; see :meth:`prepare`."""
        if not isinstance(self.network, SLSFGRNetwork):
            raise InputError(f"network {self.recipe.model.network!r}: cannot learn from labels; use sl_sfgr.")
        shape, multiple = self.recipe.supervision.shape, self.network.size_multiple
        if len(shape) != 3 or any(size <= 0 or size % multiple for size in shape):
            raise InputError(f"[supervision] shape: must be three multiples of {multiple}, not {list(shape)}.")
        if self.network.segmenter is not None and self.network.structures != synthesis.CHANNELS - 1:
            raise InputError(f"network_options: structures must be {synthesis.CHANNELS - 1}, as in the label table.")
        if self._warm_up > 0 and self._segmentation_is_frozen:
            raise InputError(
                "[supervision] segmentation_steps: nothing could learn in them, since encoder and segmenter are "
                "[training] frozen; set it to 0."
            )

    @property
    def _segmentation_is_frozen(self) -> bool:
        parts = self.network.encoder, self.network.segmenter
        return not any(weights.requires_grad for part in parts for weights in part.parameters())

    def _segmentation(self, generator: torch.Generator) -> torch.Tensor:
        supervision = self.recipe.supervision
        if self.carried and chance(generator, supervision.real_share):
            image, target = self._draw(draw_labelled_sample, self.carried, generator)
            target = target.contiguous(memory_format=torch.channels_last_3d)
        else:
            sample = self._draw(synthesis.draw_sample, self.training[: self._labelled], generator)
            image, target = sample.image, _fractions(sample.labels)
        logits = self.network.segment(image)
        return segmentation_loss(
            logits, target, class_weight_exponent=supervision.rarity, dice_weight=supervision.overlap
        )

    def _pair(self, generator: torch.Generator) -> tuple[Example, Example]:
        if self.images is not None and float(torch.rand((), generator=generator)) < self.recipe.supervision.real_pairs:
            images = draw_pair(self.images, self.recipe.augmentation, self.spacing, generator)
            return tuple(Example(image, image, None) for image in images)
        pair = self._draw(synthesis.draw_pair, self.training, generator)
        return tuple(
            Example(
                sample.image,
                reference if self._labels_for_all else sample.image,
                *((_fractions(sample.labels), fractions(sample.anatomy)) if sample.number < self._labelled else ()),
            )
            for sample, reference in ((pair.moving, pair.moving_reference), (pair.fixed, pair.fixed_reference))
        )

    def _draw(self, draw: Callable, maps: list, generator: torch.Generator) -> Any:  # noqa: ANN401
        return draw(maps, self.recipe.supervision.shape, self._synthesis, generator, self.spacing)

    def _held_out(self, number: int) -> synthesis.Pair:
        """A pair of held-out maps, always the same."""
        generator = torch.Generator().manual_seed(VALIDATION_SEED + number)
        maps = [self.validation[(number + shift) % len(self.validation)] for shift in (0, 1)]
        shape = self.recipe.supervision.shape
        return synthesis.draw_pair(maps, shape, self.recipe.synthesis, generator, self.spacing)

    def _sample(self, pair: synthesis.Pair) -> Sample:
        described = [self.network.describe(sample.image) for sample in (pair.moving, pair.fixed)]
        sample = registration_sample(pair.moving.image, pair.fixed.image, self.network.match(*described)[-1])
        if described[1].logits is None:
            return sample
        channels = [volume.argmax(dim=1)[0] for volume in (fractions(pair.fixed.labels), described[1].logits)]
        return sample | dict(zip(("Labels", "Segmentation"), channels, strict=True))

    def _validated(self, pair: synthesis.Pair) -> dict[str, float]:
        """The figures of one pair of held-out maps."""
        moving, fixed = (self.network.describe(sample.image) for sample in (pair.moving, pair.fixed))
        carried, wanted = (fractions(sample.anatomy) for sample in (pair.moving, pair.fixed))
        field = resize_field(self.network.match(moving, fixed)[-1], wanted.shape[2:])
        figures = {
            "dice_before": _mean_dice(carried, wanted),
            "registration_dice": _mean_dice(warp(carried, field), wanted),
            "folding_percent": 100.0 * float((jacobian_determinant(field) <= 0).float().mean()),
        }
        if fixed.logits is not None:
            figures["segmentation_dice"] = _mean_dice(fixed.logits, fractions(pair.fixed.labels))
        return figures


def _fractions(labels: torch.Tensor) -> torch.Tensor:
    # With the channels last, the loss reads them without a copy.
    return fractions(labels).contiguous(memory_format=torch.channels_last_3d)


def _mean_dice(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the mean Dice of the most probable channels, over the structures in ``wanted``; both (1, K, D, H, W)."""
    found, wanted = (volume.argmax(dim=1).cpu().numpy() for volume in (found, wanted))
    return float(np.mean([dice for label, dice in dice_by_label(found, wanted).items() if (wanted == label).any()]))
