"""Map one image to the contrast of the other where the two contrasts are not related linearly.

The local correlation handles any linear relation of the intensities near a voxel, of either sign. The relation of T1
and T2 is not linear: CSF beside the brain is brighter than the brain, air beside the CSF is darker. The mean intensity
of one image for each intensity of the other is an intensity mapping (that of the correlation ratio; Roche et al. 1998).
There is one for each direction, and often only one of them is of use: the mapping from T1 to T2 is one-to-many, since
air and CSF are both dark in T1; the mapping from T2 to T1 is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch.nn import functional

from ..segmentation.tissue_maps import TISSUES
from ..spatial.affine import Affine
from ..spatial.fields import downsample
from ..spatial.warping import AffineWarper
from .channels import GIVEN_INTENSITY, INTENSITY, ChannelImage
from .field_optimisation import Level, optimise_field

BINS = 64
# Standard deviation of the smoothing of the mapping, in bins.
BIN_SIGMA = 1.5
# The mapping is estimated at about this spacing in mm, where one image has more than this intensity.
SPACING = 2.0
BACKGROUND = 0.03
# A voxel with more than this of the three tissues lies in the brain.
BRAIN_PROBABILITY = 0.9
# The relation is taken to be linear unless the mapping explains this much more of an image's variance than a line.
# Chosen: T1 to T1 of two people stays below 0.03, T1 to T2 is above 0.2 (docs/develop/experiments.md).
MIN_NONLINEAR_GAIN = 0.1
# The mapping is estimated a second time after the levels of this spacing and coarser, in mm.
MAPPING_SPACING = 4.0
# Variance below which an image shows nothing.
MIN_VARIANCE = 1e-6


@dataclass(frozen=True)
class IntensityMapping:
    """The mean intensity of one image for each intensity of another.

    :param table: (BINS,), for intensities from 0 to 1 of the other image.
    :param explained: fraction of the image's variance that the table explains (the correlation ratio).
    :param linear: fraction that the best straight line explains (the squared correlation).
    """

    table: torch.Tensor
    explained: float
    linear: float

    @property
    def is_needed(self) -> bool:
        """Whether the relation of the two contrasts is far from a straight line."""
        return self.explained - self.linear > MIN_NONLINEAR_GAIN

    def apply(self, image: torch.Tensor) -> torch.Tensor:
        """Map intensities from 0 to 1, of any shape, to the other contrast."""
        return _look_up(self.table, image)


def estimate_mappings(
    fixed: ChannelImage, moving: ChannelImage, affine: Affine, start: torch.Tensor | None = None
) -> tuple[IntensityMapping, IntensityMapping]:
    """Estimate how the intensities of two images are related, from voxels at the same place.

    :param affine: fixed points to moving points.
    :param start: (1, 3, d, h, w), the field before the affine transform as far as it is known.
    :returns: the mapping from the moving image's contrast to the fixed one's, and back.
    """
    factor = max(1, round(SPACING / fixed.grid.mean_spacing))
    target, warped = _intensities(fixed, moving, affine, start, factor)
    return _fit_both_ways(target, warped, (target > BACKGROUND) | (warped > BACKGROUND))


def correlation_ratio(
    fixed: ChannelImage, moving: ChannelImage, affine: Affine, field: torch.Tensor, spacing: float
) -> float:
    """Return the correlation ratio of two intensities in the brain (Roche et al. 1998): how far one tells the other.

    For the other parameters see :func:`estimate_mappings`.

    :param fixed: with tissue maps.
    :param spacing: of the level to come, in mm; both images are averaged to twice that, the spacing of the field.
    :returns: the larger one of both directions, from 0 to 1.
    """
    factor = max(1, round(2.0 * spacing / fixed.grid.mean_spacing))
    target, warped = _intensities(fixed, moving, affine, field, factor)
    brain = downsample(fixed.stack(TISSUES), factor).sum(dim=1, keepdim=True) > BRAIN_PROBABILITY
    return max(mapping.explained for mapping in _fit_both_ways(target, warped, brain))


def match_contrast(
    fixed: ChannelImage, moving: ChannelImage, affine: Affine, start: torch.Tensor | None = None
) -> tuple[ChannelImage, ChannelImage] | None:
    """Return the two images, one of them in the other's contrast; None if the contrasts are related linearly.

    Both keep their given intensities in another channel: within a window these are often related linearly, and the
    mapping has blurred nothing there.

    For the parameters see :func:`estimate_mappings`.
    """
    to_fixed, to_moving = estimate_mappings(fixed, moving, affine, start)
    better = max(to_fixed, to_moving, key=attrgetter("explained"))
    if not better.is_needed:
        return None
    fixed, moving = (image.replace(GIVEN_INTENSITY, image.channels[INTENSITY]) for image in (fixed, moving))
    if better is to_fixed:
        return fixed, moving.replace(INTENSITY, better.apply(moving.channels[INTENSITY]))
    return fixed.replace(INTENSITY, better.apply(fixed.channels[INTENSITY])), moving


def optimise_across_contrasts(
    fixed: ChannelImage,
    moving: ChannelImage,
    affine: Affine,
    levels: Sequence[Level],
    start: torch.Tensor | None = None,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Optimise a field as :func:`~SLSFGRLib.registration.field_optimisation.optimise_field`, with matched contrasts.

    The mapping is estimated twice: from the affine alignment, and again after the levels down to
    :data:`MAPPING_SPACING`, the last of which is then repeated; with a field to start from, once, from that.
    """
    matched = match_contrast(fixed, moving, affine, start)
    if matched is None:
        return optimise_field(fixed, moving, affine, levels, start, update)
    if start is None:
        coarse = [level for level in levels if level.spacing >= MAPPING_SPACING] or levels[:1]
        start = optimise_field(*matched, affine, coarse)
        matched = match_contrast(fixed, moving, affine, start) or (fixed, moving)
        levels = levels[len(coarse) - 1 :]
    return optimise_field(*matched, affine, levels, start, update)


def _intensities(
    fixed: ChannelImage, moving: ChannelImage, affine: Affine, field: torch.Tensor | None, factor: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the intensities of the fixed and of the warped moving image, averaged by a factor: (1, 1, d, h, w)."""
    target = downsample(fixed.channels[INTENSITY], factor)
    field = target.new_zeros(1, 3, *target.shape[2:]) if field is None else field
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    return target, AffineWarper(moving.channels[INTENSITY], matrix, fixed.grid.shape, factor)(field)


def _fit_both_ways(
    target: torch.Tensor, warped: torch.Tensor, inside: torch.Tensor
) -> tuple[IntensityMapping, IntensityMapping]:
    """Estimate the mapping from the warped image to the target in some voxels, and back."""
    values = warped[inside], target[inside]
    return _fit(*values), _fit(*values[::-1])


def _fit(source: torch.Tensor, target: torch.Tensor) -> IntensityMapping:
    """Estimate the mapping between (N,) intensities at the same places."""
    first, fraction = _bins(source)
    sums = source.new_zeros(2, BINS)
    for bins, weight in ((first, 1.0 - fraction), (first + 1, fraction)):
        sums[0].index_add_(0, bins, weight)
        sums[1].index_add_(0, bins, weight * target)
    radius = round(4 * BIN_SIGMA)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=source.device) / BIN_SIGMA) ** 2)
    counts, totals = functional.conv1d(sums[:, None], kernel[None, None], padding=radius)[:, 0]
    table = totals / counts.clamp(min=1e-3)
    variance = float(target.var())
    if variance < MIN_VARIANCE:
        return IntensityMapping(table, 0.0, 0.0)
    residual = float((target - _look_up(table, source)).square().mean())
    covariance = float(((target - target.mean()) * (source - source.mean())).mean())
    linear = covariance**2 / (variance * max(float(source.var()), MIN_VARIANCE))
    return IntensityMapping(table, explained=1.0 - residual / variance, linear=linear)


def _bins(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bin below each value between 0 and 1, and the fraction of the way to the next bin."""
    position = values * (BINS - 1)
    first = position.floor().clamp(0, BINS - 2)
    return first.long(), position - first


def _look_up(table: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Interpolate the table at each value."""
    first, fraction = _bins(values)
    return torch.lerp(table[first], table[first + 1], fraction)
