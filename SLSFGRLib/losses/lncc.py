"""Local normalised cross-correlation: squared, in a cubic window around every voxel (LNCC; Avants et al. 2008).

Window sums are separable sums of shifted copies: on a CPU some ten times as fast as a dense convolution or average
pooling, and without the cancellation errors of cumulative sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

from ..spatial.blockwise import apply_along_each_axis, apply_blockwise
from ..spatial.fields import pad_to_multiple, running_sum

# LNCC window of the analytic gradient: 8 voxels, which are 4 pairs, evaluated at stride 2. So many of the pairs lie
# before and after the window's own.
PAIRS = 4
BEFORE, AFTER = 1, 2
# Voxels in a block of one pair along every axis; each window stands for one block.
PAIR_VOXELS = 8
# Noise floor: the gain in LNCC per voxel of motion below which a force moves little (docs/develop/experiments.md).
NOISE_FORCE = 0.3
# Windows with less weight than this many voxels do not count. Chosen: a tenth of a window.
MIN_WINDOW_WEIGHT = 51.0


def box_sum(volume: torch.Tensor, radius: int) -> torch.Tensor:
    """Return the sum over the window of ``2 radius + 1`` voxels around each voxel of (B, C, D, H, W), zeros outside."""
    return _cube_sum(volume, radius, radius)


def _cube_sum(volume: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Return the sum over the window from ``before`` voxels before each voxel to ``after`` after it, zeros outside."""
    return apply_along_each_axis(partial(_line_sum, before=before, after=after), volume)


def _line_sum(volume: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """Return the sum along one axis only."""
    widths = [0, 0, 0, 0, 0, 0]
    widths[2 * (4 - axis)], widths[2 * (4 - axis) + 1] = before, after
    return running_sum(functional.pad(volume, widths), axis, before + after + 1)


def local_correlation(warped: torch.Tensor, fixed: torch.Tensor, radius: int = 3, noise: float = 1e-3) -> torch.Tensor:
    """Return the squared correlation in the window around each voxel, 0 to 1: (B, 1, D, H, W) to the same shape.

    It is ``(|covariance| + noise)^2 / ((variance + noise) (variance + noise))``, as if both images had the same faint
    noise: 1 for equal or inverted images however flat they are, near 0 for a flat and a structured one. With noise in
    the denominator only, as is usual, low-contrast regions move towards regions of more contrast.
    """
    count = (2 * radius + 1) ** 3
    moments = torch.cat([warped, fixed, warped * warped, fixed * fixed, warped * fixed], dim=1)
    mean_w, mean_f, square_w, square_f, product = (box_sum(moments, radius) / count).split(1, dim=1)
    variance_w = (square_w - mean_w * mean_w).clamp(min=0) + noise
    variance_f = (square_f - mean_f * mean_f).clamp(min=0) + noise
    covariance = (product - mean_w * mean_f).abs() + noise
    return covariance * covariance / (variance_w * variance_f)


class LocalCorrelation:
    """The dissimilarity ``1 - LNCC``: 0 if the images are linearly related in every window, 1 if in none.

    :param radius: half the side of the window, in voxels.
    :param noise: variance below which a window counts as flat, for images in [0, 1].
    """

    def __init__(self, radius: int = 3, noise: float = 1e-3) -> None:
        self.radius = radius
        self.noise = noise

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the mean over voxels and batch for (B, 1, D, H, W) images."""
        return 1.0 - local_correlation(warped.float(), fixed.float(), self.radius, self.noise).mean()


class LocalCorrelationGradient:
    """The analytic gradient of LNCC with one fixed image.

    The windows have 8 x 8 x 8 voxels and are evaluated at stride 2, on a grid with an eighth of the voxels: five times
    as fast as a window at every voxel (docs/develop/experiments.md). Window sums of three volumes give the terms of the
    derivative with respect to every warped voxel; sums of three more volumes over the windows that contain a voxel
    give the derivative itself. A test compares it with automatic differentiation.

    :param fixed: (1, 1, D, H, W).
    :param noise: as in :class:`LocalCorrelation`.
    """

    def __init__(self, fixed: torch.Tensor, noise: float = 1e-3) -> None:
        self.noise = noise
        self.fixed = _paired(fixed)
        mean, square = self._means(lambda image: torch.cat([image, image * image], dim=1), self.fixed).split(1, dim=1)
        self.mean, self.variance = mean, self._variance(square, mean)

    def __call__(self, warped: torch.Tensor) -> torch.Tensor:
        """Return the derivative of ``voxels * (1 - LNCC)``, (1, 1, D, H, W)."""
        paired = _paired(warped)
        moments = self._means(self._products, paired, self.fixed)
        factors = apply_blockwise(self._factors, moments, self.mean, self.variance)
        found = apply_blockwise(self._derivative, paired, self.fixed, _cube_sum(factors, AFTER, BEFORE)).flatten(2, 3)
        return found[..., : warped.shape[2], : warped.shape[3], : warped.shape[4]]

    @staticmethod
    def _means(function: Callable[..., torch.Tensor], *paired: torch.Tensor) -> torch.Tensor:
        """Return the mean of a function of the voxels in every window, (1, C, D / 2, H / 2, W / 2)."""
        sums = apply_blockwise(lambda *parts: _sum_of_pairs(function(*parts)), *paired)
        return _cube_sum(sums, BEFORE, AFTER).div_(PAIR_VOXELS * PAIRS**3)

    @staticmethod
    def _products(warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        return torch.cat([warped, warped * warped, warped * fixed], dim=1)

    def _factors(self, moments: torch.Tensor, mean_f: torch.Tensor, variance_f: torch.Tensor) -> torch.Tensor:
        """Return each window's factors of the warped voxels, of the fixed voxels and of 1 in the derivative."""
        mean, square, product = moments.split(1, dim=1)
        variance = self._variance(square, mean)
        covariance = product - mean * mean_f
        covariance.add_(covariance.sign().mul_(self.noise))
        slope = covariance / (variance_f * variance)
        decay = covariance.mul_(slope).div_(variance)
        return torch.cat([decay, slope, decay * mean - slope * mean_f], dim=1)

    @staticmethod
    def _derivative(warped: torch.Tensor, fixed: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        """Return the derivative, given the sums of the factors of all windows that contain a block of voxels."""
        whole = functional.interpolate(sums, scale_factor=2).unflatten(2, (-1, 2))
        decay, slope, rest = whole.split(1, dim=1)
        return (decay * warped).sub_(slope * fixed).sub_(rest).mul_(2.0 / PAIRS**3)

    def _variance(self, square: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Return the variance plus noise, given the means of the squares and of the values."""
        return (square - mean * mean).clamp_(min=0).add_(self.noise)


class WeightedCorrelationGradient:
    """The analytic gradient of LNCC where each voxel has a weight: what has none counts in no window.

    Windows and derivative are those of :class:`LocalCorrelationGradient`, with weighted moments; a window
    weighs as much as its voxels.

    :param fixed: (1, 1, D, H, W).
    :param noise: as in :class:`LocalCorrelation`.
    """

    def __init__(self, fixed: torch.Tensor, noise: float = 1e-3) -> None:
        self.fixed, self.noise = _paired(fixed), noise

    def __call__(self, warped: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return the derivative of ``voxels * (1 - LNCC)``, (1, 1, D, H, W).

        :param weights: from 0 to 1, of the shape of ``warped``.
        """
        paired, weight, fixed = _paired(warped), _paired(weights), self.fixed
        products = (weight, weight * paired, weight * fixed, weight * paired**2, weight * fixed**2)
        sums = _sum_of_pairs(torch.cat([*products, weight * paired * fixed], dim=1))
        moments = _cube_sum(sums, BEFORE, AFTER)
        count = moments[:, :1].clamp(min=MIN_WINDOW_WEIGHT)
        mean_w, mean_f, square_w, square_f, product = (moments[:, 1:] / count).split(1, dim=1)
        variance_w = (square_w - mean_w**2).clamp(min=0) + self.noise
        variance_f = (square_f - mean_f**2).clamp(min=0) + self.noise
        covariance = product - mean_w * mean_f
        covariance = covariance + covariance.sign() * self.noise
        slope = covariance / (variance_f * variance_w)
        decay = covariance * slope / variance_w
        usable = moments[:, :1] > MIN_WINDOW_WEIGHT
        factors = torch.cat([decay, slope, decay * mean_w - slope * mean_f], dim=1) * usable
        whole = functional.interpolate(_cube_sum(factors, AFTER, BEFORE), scale_factor=2).unflatten(2, (-1, 2))
        decay, slope, rest = whole.split(1, dim=1)
        found = (weight * (decay * paired - slope * fixed - rest)).mul_(2.0 / PAIRS**3).flatten(2, 3)
        return found[..., : warped.shape[2], : warped.shape[3], : warped.shape[4]]


def _paired(volume: torch.Tensor) -> torch.Tensor:
    """Put every two slices into an axis of their own, zeros beyond odd sizes: to (1, 1, D / 2, 2, H, W)."""
    return pad_to_multiple(volume, 2, mode="constant").unflatten(2, (-1, 2))


def _sum_of_pairs(paired: torch.Tensor) -> torch.Tensor:
    """Return the sum of every block of 2 x 2 x 2 voxels: (1, C, D / 2, 2, H, W) to (1, C, D / 2, H / 2, W / 2)."""
    lines = paired[:, :, :, 0] + paired[:, :, :, 1]
    rows = lines[..., ::2, :] + lines[..., 1::2, :]
    return rows[..., ::2] + rows[..., 1::2]
