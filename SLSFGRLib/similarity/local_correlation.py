"""Squared normalised correlation in a small cube about every voxel (LNCC; Avants et al. 2008).

Box sums are separable sums of shifted copies: on a CPU some ten times faster than a dense convolution or
an average pooling, and without the cancellation of running sums.
"""

from __future__ import annotations

from functools import partial

import torch

from ..fields import pad_axis, running_sum
from ..slabs import along_each_axis, in_slabs


def box_sum(volume: torch.Tensor, radius: int) -> torch.Tensor:
    """Sum over a cube of ``2 radius + 1`` voxels about each voxel of (B, C, D, H, W), zeros outside."""
    return along_each_axis(partial(_line_sum, radius=radius), volume)


def _line_sum(volume: torch.Tensor, axis: int, radius: int) -> torch.Tensor:
    """Sum along one axis only."""
    return running_sum(pad_axis(volume, axis, radius), axis, 2 * radius + 1)


def local_correlation(warped: torch.Tensor, fixed: torch.Tensor, radius: int = 3, noise: float = 1e-3) -> torch.Tensor:
    """Squared correlation in the cube about each voxel, 0 to 1: (B, 1, D, H, W) to the same shape.

    ``(|covariance| + noise)^2 / ((variance + noise) (variance + noise))``, as though both images carried the
    same faint noise: 1 for equal or inverted images however flat, near 0 for a flat and a structured one. With
    noise below the line alone, as is usual, faint regions are pulled towards whatever has more contrast.
    """
    count = (2 * radius + 1) ** 3
    moments = torch.cat([warped, fixed, warped * warped, fixed * fixed, warped * fixed], dim=1)
    mean_w, mean_f, square_w, square_f, product = (box_sum(moments, radius) / count).split(1, dim=1)
    variance_w = (square_w - mean_w * mean_w).clamp(min=0) + noise
    variance_f = (square_f - mean_f * mean_f).clamp(min=0) + noise
    covariance = (product - mean_w * mean_f).abs() + noise
    return covariance * covariance / (variance_w * variance_f)


class LocalCorrelation:
    """``1 - LNCC``: 0 where every neighbourhood is a linear image of the other's, 1 where none is related.

    :param radius: half the side of the cube, in voxels.
    :param noise: variance below which a neighbourhood counts as flat, for images in [0, 1].
    """

    def __init__(self, radius: int = 3, noise: float = 1e-3) -> None:
        self.radius = radius
        self.noise = noise

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Compare (B, 1, D, H, W) images; the mean over voxels and batch."""
        return 1.0 - local_correlation(warped.float(), fixed.float(), self.radius, self.noise).mean()


class LocalCorrelationGradient:
    """The same measure for one fixed image, with its derivative written out instead of recorded.

    Box sums of three volumes give what the derivative with respect to every warped voxel is made of, and of three
    more the derivative: several times faster and in a fraction of the memory of automatic differentiation (tested to
    agree with it).

    :param fixed: (1, 1, D, H, W).
    """

    def __init__(self, fixed: torch.Tensor, radius: int = 3, noise: float = 1e-3) -> None:
        self.radius = radius
        self.noise = noise
        self.fixed = fixed
        self.count = (2 * radius + 1) ** 3
        mean, square = box_sum(torch.cat([fixed, fixed * fixed], dim=1), radius).div_(self.count).split(1, dim=1)
        self.mean, self.variance = mean, self._variance(square, mean)

    def __call__(self, warped: torch.Tensor) -> torch.Tensor:
        """The derivative of ``voxels * (1 - LNCC)``, (1, 1, D, H, W)."""
        moments = box_sum(in_slabs(self._products, warped, self.fixed), self.radius)
        factors = box_sum(in_slabs(self._factors, moments, self.mean, self.variance), self.radius)
        return in_slabs(self._derivative, factors, warped, self.fixed)

    @staticmethod
    def _products(warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        return torch.cat([warped, warped * warped, warped * fixed], dim=1)

    def _factors(self, moments: torch.Tensor, mean_f: torch.Tensor, variance_f: torch.Tensor) -> torch.Tensor:
        """What the warped voxels, the fixed ones and 1 are multiplied by, for each cube that they are in."""
        mean, square, product = (moments / self.count).split(1, dim=1)
        variance = self._variance(square, mean)
        covariance = product - mean * mean_f
        covariance.add_(covariance.sign().mul_(self.noise))
        slope = covariance / (variance_f * variance)
        decay = covariance.mul_(slope).div_(variance)
        return torch.cat([decay, slope, decay * mean - slope * mean_f], dim=1)

    def _derivative(self, factors: torch.Tensor, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        decay, slope, rest = factors.split(1, dim=1)
        return (decay * warped).sub_(slope * fixed).sub_(rest).mul_(2.0 / self.count)

    def _variance(self, square: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """From the means of the square and of the values themselves."""
        return (square - mean * mean).clamp_(min=0).add_(self.noise)
