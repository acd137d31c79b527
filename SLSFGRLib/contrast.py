"""Giving the moving image the fixed image's contrast, where the two differ in kind.

The local correlation takes any linear relation of the brightness near a voxel, of either sign. Between T1 and T2 the
relation is not linear: fluid beside the brain is brighter than the brain, air beside the fluid is darker. What the
fixed image shows on average where the moving image has a given brightness is a map of brightness to brightness
(the one behind the correlation ratio; Roche et al. 1998). Through it the two become alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .deformation import AffineWarper, Level, deform
from .fields import downsample
from .preparation import PreparedImage

BINS = 64
# Of the table, in bins: neighbouring brightnesses have nearly the same mean.
TABLE_BLUR = 1.5
# In voxels of the prepared images: what the relation is estimated from.
FACTOR = 2
BACKGROUND = 0.03
# The relation is taken for linear unless the curve explains this much more of the fixed image's variance.
LARGEST_LINEAR_GAP = 0.1
# Of the levels, in mm, after which the two images lie near enough to each other to see how they are related.
RELATION_SPACING = 4.0
# An image with less variance than this shows nothing.
FLAT = 1e-6


@dataclass(frozen=True)
class BrightnessMap:
    """The mean brightness of the fixed image for each brightness of the moving image.

    :param table: (BINS,), for brightnesses from 0 to 1.
    :param explained: the share of the fixed image's variance that the table explains (the correlation ratio).
    :param linear: the share that the best straight line explains (the squared correlation).
    """

    table: torch.Tensor
    explained: float
    linear: float

    @property
    def is_needed(self) -> bool:
        """Whether the relation of the two contrasts is far from a straight line."""
        return self.explained - self.linear > LARGEST_LINEAR_GAP

    def applied(self, image: PreparedImage) -> PreparedImage:
        """The image in the other contrast."""
        return PreparedImage(_looked_up(self.table, image.tensor), image.grid)


def brightness_map(
    fixed: PreparedImage, moving: PreparedImage, matrix: np.ndarray, field: torch.Tensor | None = None
) -> BrightnessMap:
    """Estimate how the brightness of two images is related, from what lies at the same place.

    :param matrix: 4x4, fixed voxels to moving voxels.
    :param field: (1, 3, d, h, w), what is known of the deformation before the matrix.
    """
    target = downsample(fixed.tensor, FACTOR)
    field = target.new_zeros(1, 3, *target.shape[2:]) if field is None else field
    warped = AffineWarper(moving.tensor, matrix, fixed.grid.shape, FACTOR)(field)
    inside = (target > BACKGROUND) | (warped > BACKGROUND)
    return _fitted(warped[inside], target[inside])


def deform_across_contrasts(
    fixed: PreparedImage,
    moving: PreparedImage,
    matrix: np.ndarray,
    levels: tuple[Level, ...],
    start: torch.Tensor | None = None,
    tissues: tuple[torch.Tensor, torch.Tensor] | None = None,
    **options: object,
) -> torch.Tensor:
    """As :func:`deformation.deform`, with the moving image in the fixed image's contrast where that is needed.

    The relation is estimated twice: from the affine alignment, and again after the levels down to
    :data:`RELATION_SPACING`, the last of which is done again; with a field to start from, from that alone.
    """
    relation = brightness_map(fixed, moving, matrix, start)
    if not relation.is_needed:
        return deform(fixed, moving, matrix, levels, start=start, tissues=tissues, **options)
    if start is None:
        coarse = [level for level in levels if level.spacing >= RELATION_SPACING] or levels[:1]
        start = deform(fixed, relation.applied(moving), matrix, tuple(coarse), tissues=tissues)
        relation = brightness_map(fixed, moving, matrix, start)
        levels = levels[len(coarse) - 1 :]
    return deform(fixed, relation.applied(moving), matrix, levels, start=start, tissues=tissues, **options)


def _fitted(moving: torch.Tensor, fixed: torch.Tensor) -> BrightnessMap:
    """Of (N,) brightnesses at the same places."""
    first, share = _bins(moving)
    sums = moving.new_zeros(2, BINS)
    for bins, weight in ((first, 1.0 - share), (first + 1, share)):
        sums[0].index_add_(0, bins, weight)
        sums[1].index_add_(0, bins, weight * fixed)
    reach = round(4 * TABLE_BLUR)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=moving.device) / TABLE_BLUR) ** 2)
    counts, totals = functional.conv1d(sums[:, None], kernel[None, None], padding=reach)[:, 0]
    table = totals / counts.clamp(min=1e-3)
    variance = float(fixed.var())
    if variance < FLAT:
        return BrightnessMap(table, 0.0, 0.0)
    residual = float((fixed - _looked_up(table, moving)).square().mean())
    covariance = float(((fixed - fixed.mean()) * (moving - moving.mean())).mean())
    linear = covariance**2 / (variance * max(float(moving.var()), FLAT))
    return BrightnessMap(table, explained=1.0 - residual / variance, linear=linear)


def _bins(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bin below each value between 0 and 1, and how far the value lies from it to the next."""
    place = values * (BINS - 1)
    first = place.floor().clamp(0, BINS - 2)
    return first.long(), place - first


def _looked_up(table: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The table at each value, interpolated."""
    first, share = _bins(values)
    return torch.lerp(table[first], table[first + 1], share)
