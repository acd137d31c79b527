"""How unlike corresponding labels are, at several scales: what teaches where intensities cannot (Hu et al. 2018).

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018, equation 3: the mean over a set of Gaussians of a measure between two labels, both blurred.
The wide ones reach labels that do not overlap yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from ..errors import InputError
from ..spatial.fields import downsample, pad_axis

# Standard deviations in voxels.
SCALES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# Keeps an empty label from dividing by nothing; in voxels of the full grid.
EMPTY = 1e-6
# The logarithm's argument is kept so far from zero.
LEAST_PROBABILITY = 1e-4


def dice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """One minus soft Dice, ``2 sum(a b) / sum(a^2 + b^2)`` (Milletari et al. 2016): 0 for equal labels.

    With ``sum(a + b)`` below the line, as in the paper's own code, even equal labels are far from a Dice of one when
    a wide Gaussian has made them faint, and the wide scales of small labels would count for nothing.

    :param first: (B, L, D, H, W) with values in [0, 1].
    :param second: likewise.
    :returns: (B, L).
    """
    common, total = _products(first, second), _products(first, first) + _products(second, second)
    # Two empty labels agree.
    return 1.0 - (2.0 * common + EMPTY) / (total + EMPTY)


def cross_entropy(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of ``first`` as a probability of ``second``, less what equal labels have: 0 for these.

    Parameters and result as :func:`dice`.
    """
    entropies = [_binary_entropy(probability, second) for probability in (first, second)]
    return (entropies[0] - entropies[1]).mean((2, 3, 4))


def mean_squares(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean squared difference. Parameters and result as :func:`dice`."""
    return (first - second).square().mean((2, 3, 4))


LABEL_MEASURES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "dice": dice,
    "cross_entropy": cross_entropy,
    "mean_squares": mean_squares,
}


class MultiScaleLabelSimilarity:
    """The mean of a measure over scales, labels and batch.

    :param measure: a name in :data:`LABEL_MEASURES`.
    :param scales: standard deviations of the Gaussians in voxels; 0 leaves the labels as they are.
    :raises InputError: there is no such measure, no scale or a negative one.
    """

    def __init__(self, measure: str = "dice", scales: tuple[float, ...] = SCALES) -> None:
        if measure not in LABEL_MEASURES:
            known = ", ".join(LABEL_MEASURES)
            raise InputError(f"label_measure {measure!r}: there is none of this name; use one of {known}.")
        if not scales or min(scales) < 0:
            raise InputError("scales: must be one or more numbers of voxels, 0 or larger.")
        self.measure = LABEL_MEASURES[measure]
        self.scales = scales

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Compare (B, L, D, H, W) labels with values in [0, 1]; a scalar, 0 for equal labels."""
        losses = [
            self.measure(*blurred).mean()
            for blurred in zip(blurred_copies(first, self.scales), blurred_copies(second, self.scales), strict=True)
        ]
        return torch.stack(losses).mean()


def blurred_copies(labels: torch.Tensor, scales: tuple[float, ...]) -> list[torch.Tensor]:
    """Blur by several Gaussians, nothing being outside, on copies with as few voxels as show what is left.

    Voxels of up to twice the standard deviation will do: wide Gaussians cost next to nothing. Averaging blocks of n
    voxels a side blurs, too, by a variance of (n^2 - 1) / 12; narrow kernels add what is missing.

    :param labels: (B, L, D, H, W).
    :param scales: standard deviations in voxels of ``labels``.
    """
    factors = [2 ** (math.floor(math.log2(scale)) + 1) if scale >= 1.0 else 1 for scale in scales]
    copies = {1: labels}
    while max(copies) < max(factors):
        copies[2 * max(copies)] = _halved(copies[max(copies)])
    missing = ((scale / factor) ** 2 - (1.0 - factor**-2) / 12.0 for scale, factor in zip(scales, factors, strict=True))
    return [_spread(copies[factor], variance) for factor, variance in zip(factors, missing, strict=True)]


def _spread(volume: torch.Tensor, variance: float) -> torch.Tensor:
    """Blur by a variance of less than one: twice a kernel of three voxels with half of it, along each axis."""
    if variance <= 0:
        return volume
    for axis in (2, 3, 4, 2, 3, 4):
        padded, size = pad_axis(volume, axis, 1), volume.shape[axis]
        neighbours = padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
        volume = torch.lerp(volume, 0.5 * neighbours, 0.5 * variance)
    return volume


def _halved(labels: torch.Tensor) -> torch.Tensor:
    """Averages of two voxels a side, with nothing beyond the far ends."""
    widths = [width for size in reversed(labels.shape[2:]) for width in (0, size % 2)]
    return downsample(functional.pad(labels, widths) if any(widths) else labels, 2)


def _products(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The sum over all voxels of the product, (B, L); without an image of the products in between."""
    one, other = (volume.flatten(2).flatten(0, 1) for volume in (first, second))
    return torch.bmm(one[:, None], other[:, :, None]).view(first.shape[:2])


def _binary_entropy(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    inside = probability.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    return -(target * inside.log() + (1.0 - target) * (1.0 - inside).log())
