"""The dissimilarity of corresponding labels at several scales, for weak supervision.

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018, equation 3: the mean over a set of Gaussians of a measure between two labels, both blurred.
Wide Gaussians have a gradient also for labels that do not overlap yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from ..spatial.fields import downsample, pad_axis
from .dice import soft_dice

# Standard deviations in voxels.
SCALES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# Avoids a division by zero for empty labels; in voxels. Two empty labels have a Dice of 1.
SMOOTHING = 1e-6
# Smallest argument of the logarithm.
MIN_PROBABILITY = 1e-4


def dice_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return one minus soft Dice, ``2 sum(a b) / sum(a^2 + b^2)`` (Milletari et al. 2016): 0 for equal labels.

    With the denominator ``sum(a + b)``, as in the code of Hu et al., even equal labels have a Dice far below 1 once a
    wide Gaussian has made them faint, and small labels would have no effect at wide scales.

    :param first: (B, L, D, H, W) with values in [0, 1].
    :param second: likewise.
    :returns: (B, L).
    """
    return 1.0 - soft_dice(first, second, squared=True, smoothing=SMOOTHING)


def cross_entropy(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of ``first`` as a probability of ``second``, minus the entropy of ``second``.

    It is 0 for equal labels. Parameters and result are those of :func:`dice_loss`.
    """
    entropies = [_binary_entropy(probability, second) for probability in (first, second)]
    return (entropies[0] - entropies[1]).mean((2, 3, 4))


def mean_squares(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference; parameters and result are those of :func:`dice_loss`."""
    return (first - second).square().mean((2, 3, 4))


LABEL_MEASURES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "dice": dice_loss,
    "cross_entropy": cross_entropy,
    "mean_squares": mean_squares,
}


class MultiScaleLabelSimilarity:
    """The mean of a measure over scales, labels and batch.

    :param measure: a name in :data:`LABEL_MEASURES`.
    :param scales: standard deviations of the Gaussians in voxels; 0 is no blur.
    """

    def __init__(self, measure: str = "dice", scales: tuple[float, ...] = SCALES) -> None:
        self.measure = LABEL_MEASURES[measure]
        self.scales = scales

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the dissimilarity of (B, L, D, H, W) labels with values in [0, 1]: a scalar, 0 for equal labels."""
        losses = [
            self.measure(*blurred).mean()
            for blurred in zip(blurred_copies(first, self.scales), blurred_copies(second, self.scales), strict=True)
        ]
        return torch.stack(losses).mean()


def blurred_copies(labels: torch.Tensor, scales: tuple[float, ...]) -> list[torch.Tensor]:
    """Blur by several Gaussians, with zeros outside, each on the coarsest grid that resolves the result.

    Voxels of up to twice the standard deviation suffice, so wide Gaussians take hardly any time. Downsampling by a
    factor n also blurs, by a variance of (n^2 - 1) / 12; narrow kernels add the rest.

    :param labels: (B, L, D, H, W).
    :param scales: standard deviations in voxels of ``labels``.
    """
    factors = [2 ** (math.floor(math.log2(scale)) + 1) if scale >= 1.0 else 1 for scale in scales]
    copies = {1: labels}
    while max(copies) < max(factors):
        copies[2 * max(copies)] = _downsampled(copies[max(copies)])
    missing = ((scale / factor) ** 2 - (1.0 - factor**-2) / 12.0 for scale, factor in zip(scales, factors, strict=True))
    return [_blurred(copies[factor], variance) for factor, variance in zip(factors, missing, strict=True)]


def _blurred(volume: torch.Tensor, variance: float) -> torch.Tensor:
    """Blur by a variance below 1, in voxels: apply a kernel of three voxels with half of it twice along each axis."""
    if variance <= 0:
        return volume
    for axis in (2, 3, 4, 2, 3, 4):
        padded, size = pad_axis(volume, axis, 1), volume.shape[axis]
        neighbours = padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
        volume = torch.lerp(volume, 0.5 * neighbours, 0.5 * variance)
    return volume


def _downsampled(labels: torch.Tensor) -> torch.Tensor:
    """Downsample by 2, with zeros beyond the far ends."""
    widths = [width for size in reversed(labels.shape[2:]) for width in (0, size % 2)]
    return downsample(functional.pad(labels, widths) if any(widths) else labels, 2)


def _binary_entropy(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    inside = probability.clamp(MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return -(target * inside.log() + (1.0 - target) * (1.0 - inside).log())
