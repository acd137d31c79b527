"""The losses of SL-SFGR on one pair, of which both, one or no image has labels.

If an image has labels, they supervise its segmentation. If only the other has, they are propagated by the present field
and weighted by the local correlation of the images. If neither has, the two segmentations must agree under the field.
Targets have no gradient, so that the two cannot agree on an empty segmentation.
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

# Downsampling factor at which labels are warped and compared: that of the finest field that is regressed.
FIELD_FACTOR = SLSFGRNetwork.field_factor
# Weights of the overlap under the fields at 1/8, 1/4, 1/2 and the full resolution. Chosen, not measured.
LEVEL_WEIGHTS = (0.25, 0.5, 1.0, 1.0)


@dataclass(frozen=True)
class Example:
    """One training image.

    :param image: (1, 1, D, H, W) in [0, 1].
    :param reference: image that is compared with the other one's: tissues must have the same intensity in both.
    :param labels: partial-volume labels of background and structures, (1, K, D, H, W); None without labels.
    :param anatomy: the same of the whole brain if the image shows only a part: the border of a cropped image must not
        pull the field. None if that is no different.
    """

    image: torch.Tensor
    reference: torch.Tensor
    labels: torch.Tensor | None = None
    anatomy: torch.Tensor | None = None


def pair_losses(
    network: SLSFGRNetwork,
    moving: Example,
    fixed: Example,
    pseudo_weight: float,
    overlap: float = 1.0,
    to_full_resolution: bool = True,
) -> dict[str, torch.Tensor]:
    """Return the losses of a pair of images of one shape, registered in both directions.

    :param pseudo_weight: of the losses without labels, 0 to 1; small while the field is still poor.
    :param overlap: weight of the Dice of a segmentation with labels, its own or propagated ones.
    :param to_full_resolution: take the explicit steps at the full resolution, too.
    :returns: ``similarity``, ``segmentation`` and ``anatomy`` (without a segmentation branch the first alone), and
        ``roughness``, the regularisation term without its weight.
    """
    # In one batch: PyTorch convolves a single image of coarse features several times as slowly as two.
    described = network.describe(torch.cat([moving.image, fixed.image]))
    fields = network.match(described, described.of([1, 0]), to_full_resolution)
    first, second = described.of([0]), described.of([1])
    directions = [
        _Direction([field[:1] for field in fields], first, second, moving, fixed),
        _Direction([field[1:] for field in fields], second, first, fixed, moving),
    ]
    losses = {
        "similarity": _mean([direction.similarity() for direction in directions]),
        "roughness": _mean([direction.roughness() for direction in directions]),
    }
    if network.segmenter is None:
        return losses
    losses["anatomy"] = _mean([direction.anatomy() for direction in directions])
    losses["segmentation"] = _mean([direction.segmentation(pseudo_weight, overlap) for direction in directions])
    return losses


@dataclass(frozen=True)
class _Direction:
    """One of the two directions: the fields that warp ``moving`` to ``fixed``."""

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
        """Return the overlap of the two images' structures under the fields; its gradient reaches the fields alone."""
        loss = self.fields[-1].new_zeros(())
        moving, fixed = (
            _structures(description, example)[:, 1:]
            for description, example in ((self.described_moving, self.moving), (self.described_fixed, self.fixed))
        )
        weights = LEVEL_WEIGHTS[: len(self.fields)]
        for weight, field in zip(weights, self.fields, strict=True):
            warped = warp(moving, resize_field(field, fixed.shape[2:]))
            loss = loss + weight * (1.0 - soft_dice(warped, fixed).mean())
        return loss / sum(weights)

    def segmentation(self, pseudo_weight: float, overlap: float = 1.0) -> torch.Tensor:
        """Compare the fixed image's segmentation with its labels, or with propagated ones."""
        if self.fixed.labels is not None:
            return segmentation_loss(self.described_fixed.logits, self.fixed.labels, dice_weight=overlap)
        target, confidence = self.pseudo_labels()
        probabilities = downsample(self.described_fixed.logits.softmax(dim=1), FIELD_FACTOR)
        return pseudo_weight * overlap * (1.0 - soft_dice(probabilities[:, 1:], target[:, 1:], confidence).mean())

    @torch.no_grad()
    def pseudo_labels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Propagate the moving image's structures to the fixed one, and say how reliable they are there.

        :returns: (1, K, d, h, w), and the local correlation of the references, (1, 1, d, h, w).
        """
        structures = _structures(self.described_moving, self.moving)
        field = resize_field(self.fields[-1], structures.shape[2:])
        target = warp(structures, field)
        references = (downsample(example.reference, FIELD_FACTOR) for example in (self.moving, self.fixed))
        moving, fixed = references
        return target, local_correlation(warp(moving, field), fixed)


@torch.no_grad()
def _structures(description: Description, example: Example) -> torch.Tensor:
    """Return the labels of an image, or the network's, at the resolution of the finest field."""
    labels = example.labels if example.anatomy is None else example.anatomy
    return downsample(description.logits.softmax(dim=1) if labels is None else labels, FIELD_FACTOR)


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(values).mean()
