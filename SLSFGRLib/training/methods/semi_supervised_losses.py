"""The losses of SL-SFGR on one pair, of which both, one or no image has labels.

Where an image has labels they teach its segmentation. Where only the other has, the present field carries them
over, and they count as far as the images agree there. Where neither has, the two segmentations must agree under
the field. Targets carry no gradient, so the two cannot agree on nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...losses.dice import soft_dice
from ...losses.lncc import LocalCorrelation, local_correlation
from ...losses.regularisation import gradient_energy
from ...losses.segmentation import segmentation_loss
from ...networks.sl_sfgr import Description, SLSFGRNetwork
from ...spatial.fields import downsample, resize_field, warp

# Labels are carried and compared at the resolution of the finest field.
FIELD_FACTOR = SLSFGRNetwork.field_factor
# What the overlap under the fields at 1/8, 1/4 and 1/2 of the resolution counts.
LEVEL_WEIGHTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Example:
    """One image to learn from.

    :param image: (1, 1, D, H, W) in [0, 1].
    :param reference: what is compared with the other image's: in both the same tissue must look alike.
    :param fractions: (1, K, D, H, W) of background and structures in each voxel, or None without labels.
    :param anatomy: the same of the whole brain where the image shows only a part: it is not to be pulled to where the
        other image was cut. None where that is no different.
    """

    image: torch.Tensor
    reference: torch.Tensor
    fractions: torch.Tensor | None = None
    anatomy: torch.Tensor | None = None


def pair_losses(
    network: SLSFGRNetwork, moving: Example, fixed: Example, pseudo_weight: float, overlap: float = 1.0
) -> dict[str, torch.Tensor]:
    """The losses of a pair of images of one shape, registered both ways.

    :param pseudo_weight: of what is learned without labels, 0 to 1; small while the field is still poor.
    :param overlap: what the overlap of a segmentation with labels, its own or carried over, counts.
    :returns: ``similarity``, ``segmentation`` and ``anatomy`` (without a segmentation branch the first alone), and
        ``roughness``.
    """
    # In one batch: PyTorch convolves a single image of coarse features several times as slowly as two.
    described = network.describe(torch.cat([moving.image, fixed.image]))
    fields = network.match(described, described.of([1, 0]))
    first, second = described.of([0]), described.of([1])
    ways = [
        _Way([field[:1] for field in fields], first, second, moving, fixed),
        _Way([field[1:] for field in fields], second, first, fixed, moving),
    ]
    losses = {
        "similarity": _mean([way.similarity() for way in ways]),
        "roughness": _mean([way.roughness() for way in ways]),
    }
    if network.segmenter is None:
        return losses
    losses["anatomy"] = _mean([way.anatomy() for way in ways])
    losses["segmentation"] = _mean([way.segmentation(pseudo_weight, overlap) for way in ways])
    return losses


@dataclass(frozen=True)
class _Way:
    """One of the two directions: the fields that bring ``moving`` to ``fixed``."""

    fields: list[torch.Tensor]
    described_moving: Description
    described_fixed: Description
    moving: Example
    fixed: Example

    def similarity(self) -> torch.Tensor:
        full = resize_field(self.fields[-1], self.fixed.image.shape[2:])
        return LocalCorrelation()(warp(self.moving.reference, full), self.fixed.reference)

    def roughness(self) -> torch.Tensor:
        return gradient_energy(self.fields[-1])

    def anatomy(self) -> torch.Tensor:
        """Overlap of the two images' structures under the fields; moves the fields alone."""
        loss = self.fields[-1].new_zeros(())
        carried, wanted = (
            _structures(description, example)[:, 1:]
            for description, example in ((self.described_moving, self.moving), (self.described_fixed, self.fixed))
        )
        for weight, field in zip(LEVEL_WEIGHTS, self.fields, strict=True):
            warped = warp(carried, resize_field(field, wanted.shape[2:]))
            loss = loss + weight * (1.0 - soft_dice(warped, wanted).mean())
        return loss / sum(LEVEL_WEIGHTS)

    def segmentation(self, pseudo_weight: float, overlap: float = 1.0) -> torch.Tensor:
        """How far the fixed image's segmentation is from its labels, or from those carried over."""
        if self.fixed.fractions is not None:
            return segmentation_loss(self.described_fixed.logits, self.fixed.fractions, dice_weight=overlap)
        target, confidence = self.pseudo_labels()
        found = downsample(self.described_fixed.logits.softmax(dim=1), FIELD_FACTOR)
        return pseudo_weight * overlap * (1.0 - soft_dice(found[:, 1:], target[:, 1:], confidence).mean())

    @torch.no_grad()
    def pseudo_labels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving image's structures carried to the fixed one, and how far to trust them there.

        :returns: (1, K, d, h, w), and the local correlation of the references, (1, 1, d, h, w).
        """
        field = self.fields[-1]
        target = warp(_structures(self.described_moving, self.moving), field)
        references = (downsample(example.reference, FIELD_FACTOR) for example in (self.moving, self.fixed))
        moving, fixed = references
        return target, local_correlation(warp(moving, field), fixed)


@torch.no_grad()
def _structures(description: Description, example: Example) -> torch.Tensor:
    """The labels of an image, or what the network takes for them, at the resolution of the finest field."""
    known = example.fractions if example.anatomy is None else example.anatomy
    return downsample(description.logits.softmax(dim=1) if known is None else known, FIELD_FACTOR)


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(values).mean()
