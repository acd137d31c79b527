"""A prototype loss: features are trained to identify corresponding labels in both images, whatever the contrast.

A label's prototype is its mean feature in one image; each voxel of the other image should be more similar to the
prototype of its own label than to the others (prototypical networks, J. Snell et al., NeurIPS 2017). No parameter
belongs to a particular label: each pair of images may have other labels, and another number of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..spatial.fields import average_on_grid

# Factor of the scalar product of two features, from -1 to 1, in the softmax.
INVERSE_TEMPERATURE = 10.0
# A voxel of a label that fills a fraction f of the image has the weight ``f ** -CLASS_WEIGHT_EXPONENT``.
CLASS_WEIGHT_EXPONENT = 0.5
MIN_FRACTION = 1e-4


def feature_dissimilarity(
    moving: Sequence[torch.Tensor],
    fixed: Sequence[torch.Tensor],
    moving_labels: torch.Tensor,
    fixed_labels: torch.Tensor,
) -> torch.Tensor:
    """Return the cross-entropy of labels predicted by the other image's prototypes.

    It is the mean over resolutions and both directions.

    :param moving: (B, C, d, h, w) features of length one, at any resolutions.
    :param fixed: likewise, at the same.
    :param moving_labels: (B, L, D, H, W), partial-volume labels; the rest of each voxel is one more label.
    :param fixed_labels: likewise.
    :returns: a scalar.
    """
    losses = []
    for one, other in zip(moving, fixed, strict=True):
        labels = [_labels_on_grid(volume, one.shape[2:]) for volume in (moving_labels, fixed_labels)]
        images = list(zip((one.flatten(2), other.flatten(2)), labels, strict=True))
        losses += [_cross_entropy(*images), _cross_entropy(*images[::-1])]
    return torch.stack(losses).mean()


def _labels_on_grid(labels: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return partial-volume labels on a coarser grid, the unlabelled fraction first: (B, L + 1, voxels)."""
    fractions = average_on_grid(labels, shape)
    rest = (1.0 - fractions.sum(dim=1, keepdim=True)).clamp(min=0.0)
    return torch.cat([rest, fractions], dim=1).flatten(2)


def _cross_entropy(one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the cross-entropy of the second image's labels, predicted by the first image's prototypes.

    :param one: (B, C, voxels) features and (B, L + 1, voxels) labels.
    :param other: likewise.
    """
    (features, labels), (other_features, target) = one, other
    prototypes = functional.normalize(labels @ features.transpose(1, 2), dim=2)
    log_probability = functional.log_softmax(INVERSE_TEMPERATURE * prototypes @ other_features, dim=1)
    weighted = target * target.mean(dim=2, keepdim=True).clamp(min=MIN_FRACTION) ** -CLASS_WEIGHT_EXPONENT
    return -(weighted * log_probability).sum() / weighted.sum()
