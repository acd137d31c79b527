"""How well features tell corresponding labels: a loss that teaches features which do not depend on the contrast.

A label's prototype is its mean feature in one image; each voxel of the other image should be more like the prototype
of its own label than like the others (prototypical networks, J. Snell et al., NeurIPS 2017). Nothing is learned for
any label in particular: labels may be different ones, and differently many, for each pair of images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..spatial.fields import on_grid

# What a scalar product of two features, from -1 to 1, is multiplied with to be the logarithm of a likelihood.
SHARPNESS = 10.0
# How much more a voxel of a small label counts: 0 not at all, 1 as much as the label is smaller.
RARITY = 0.5
LEAST_SHARE = 1e-4


def feature_dissimilarity(
    moving: Sequence[torch.Tensor],
    fixed: Sequence[torch.Tensor],
    moving_labels: torch.Tensor,
    fixed_labels: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy of the labels by the other image's prototypes, over resolutions and both directions.

    :param moving: (B, C, d, h, w) features of length one, at any resolutions.
    :param fixed: likewise, at the same.
    :param moving_labels: (B, L, D, H, W), the part of each voxel that each label fills; what none fills is one more.
    :param fixed_labels: likewise.
    :returns: a scalar.
    """
    losses = []
    for one, other in zip(moving, fixed, strict=True):
        shares = [_shares(labels, one.shape[2:]) for labels in (moving_labels, fixed_labels)]
        sides = list(zip((one.flatten(2), other.flatten(2)), shares, strict=True))
        losses += [_cross_entropy(*sides), _cross_entropy(*sides[::-1])]
    return torch.stack(losses).mean()


def _shares(labels: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The part of each voxel of a coarser grid that each label fills, and that none does: (B, L + 1, voxels)."""
    shares = on_grid(labels, shape)
    rest = (1.0 - shares.sum(dim=1, keepdim=True)).clamp(min=0.0)
    return torch.cat([rest, shares], dim=1).flatten(2)


def _cross_entropy(
    known: tuple[torch.Tensor, torch.Tensor], unknown: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Of the labels of the second image; each image (B, C, voxels) features and (B, L + 1, voxels) shares."""
    (features, shares), (others, truth) = known, unknown
    prototypes = functional.normalize(shares @ features.transpose(1, 2), dim=2)
    logarithms = functional.log_softmax(SHARPNESS * prototypes @ others, dim=1)
    weighted = truth * truth.mean(dim=2, keepdim=True).clamp(min=LEAST_SHARE) ** -RARITY
    return -(weighted * logarithms).sum() / weighted.sum()
