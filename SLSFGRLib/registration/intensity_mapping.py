"""Giving one image the other's contrast, where the two differ in kind.

The local correlation takes any linear relation of the brightness near a voxel, of either sign. Between T1 and T2 the
relation is not linear: fluid beside the brain is brighter than the brain, air beside the fluid is darker. What one
image shows on average where the other has a given brightness is a map of brightness to brightness (the one behind the
correlation ratio; Roche et al. 1998). Through it the two become alike. There is one for each direction, and often only
one of them is of use: air and fluid are both dark in a T1 image, so that it does not tell which of them is bright in a
T2 image; the T2 image tells what is dark in the T1.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import torch
from torch.nn import functional

from ..preprocessing import PreparedImage
from ..spatial.fields import downsample
from ..spatial.warping import AffineWarper
from .deformable import Level, deform

BINS = 64
# Of the table, in bins: neighbouring brightnesses have nearly the same mean.
TABLE_BLUR = 1.5
# In voxels of the prepared images: what the relation is estimated from.
FACTOR = 2
BACKGROUND = 0.03
# The relation is taken for linear unless the curve explains this much more of an image's variance.
LARGEST_LINEAR_GAP = 0.1
# Of the levels, in mm, after which the two images lie near enough to each other to see how they are related.
RELATION_SPACING = 4.0
# An image with less variance than this shows nothing.
FLAT = 1e-6


@dataclass(frozen=True)
class BrightnessMap:
    """The mean brightness of one image for each brightness of the other.

    :param table: (BINS,), for brightnesses from 0 to 1 of the other.
    :param explained: the share of the image's variance that the table explains (the correlation ratio).
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


def brightness_maps(
    fixed: PreparedImage, moving: PreparedImage, matrix: np.ndarray, field: torch.Tensor | None = None
) -> tuple[BrightnessMap, BrightnessMap]:
    """Estimate how the brightness of two images is related, from what lies at the same place.

    :param matrix: 4x4, fixed voxels to moving voxels.
    :param field: (1, 3, d, h, w), what is known of the deformation before the matrix.
    :returns: from the moving image's contrast to the fixed one's, and back.
    """
    target = downsample(fixed.tensor, FACTOR)
    field = target.new_zeros(1, 3, *target.shape[2:]) if field is None else field
    warped = AffineWarper(moving.tensor, matrix, fixed.grid.shape, FACTOR)(field)
    inside = (target > BACKGROUND) | (warped > BACKGROUND)
    values = warped[inside], target[inside]
    return _fitted(*values), _fitted(*values[::-1])


def made_alike(
    fixed: PreparedImage, moving: PreparedImage, matrix: np.ndarray, field: torch.Tensor | None = None
) -> tuple[PreparedImage, PreparedImage] | None:
    """The two images, one of them in the other's contrast; None where their contrasts are related linearly.

    For the parameters see :func:`brightness_maps`.
    """
    forwards, backwards = brightness_maps(fixed, moving, matrix, field)
    better = max(forwards, backwards, key=attrgetter("explained"))
    if not better.is_needed:
        return None
    return (fixed, better.applied(moving)) if better is forwards else (better.applied(fixed), moving)


def deform_across_contrasts(
    fixed: PreparedImage,
    moving: PreparedImage,
    matrix: np.ndarray,
    levels: tuple[Level, ...],
    start: torch.Tensor | None = None,
    tissues: tuple[torch.Tensor, torch.Tensor] | None = None,
    **options: object,
) -> torch.Tensor:
    """As :func:`deformation.deform`, with one image in the other's contrast where that is needed.

    The relation is estimated twice: from the affine alignment, and again after the levels down to
    :data:`RELATION_SPACING`, the last of which is done again; with a field to start from, from that alone.
    """
    alike = made_alike(fixed, moving, matrix, start)
    if alike is None:
        return deform(fixed, moving, matrix, levels, start=start, tissues=tissues, **options)
    if start is None:
        coarse = [level for level in levels if level.spacing >= RELATION_SPACING] or levels[:1]
        start = deform(*alike, matrix, tuple(coarse), tissues=tissues)
        alike = made_alike(fixed, moving, matrix, start) or (fixed, moving)
        levels = levels[len(coarse) - 1 :]
    return deform(*alike, matrix, levels, start=start, tissues=tissues, **options)


def _fitted(known: torch.Tensor, wanted: torch.Tensor) -> BrightnessMap:
    """From the brightnesses of one image to those of the other, (N,) at the same places."""
    first, share = _bins(known)
    sums = known.new_zeros(2, BINS)
    for bins, weight in ((first, 1.0 - share), (first + 1, share)):
        sums[0].index_add_(0, bins, weight)
        sums[1].index_add_(0, bins, weight * wanted)
    reach = round(4 * TABLE_BLUR)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=known.device) / TABLE_BLUR) ** 2)
    counts, totals = functional.conv1d(sums[:, None], kernel[None, None], padding=reach)[:, 0]
    table = totals / counts.clamp(min=1e-3)
    variance = float(wanted.var())
    if variance < FLAT:
        return BrightnessMap(table, 0.0, 0.0)
    residual = float((wanted - _looked_up(table, known)).square().mean())
    covariance = float(((wanted - wanted.mean()) * (known - known.mean())).mean())
    linear = covariance**2 / (variance * max(float(known.var()), FLAT))
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
