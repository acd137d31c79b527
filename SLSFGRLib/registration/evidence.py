"""Keep a deformation where the images support it; elsewhere the affine transform remains.

An optimiser always finds some deformation that makes two images a little more alike, also where they do not show the
same: in noise, in tissue that only one contrast shows, beyond the edge of a slab. A true deformation makes them tell
much more about each other.
"""

from __future__ import annotations

import torch

from ..losses.lncc import local_correlation
from ..spatial.affine import Affine
from ..spatial.fields import downsample, resize_image, smooth
from ..spatial.grid import Grid
from ..spatial.warping import AffineWarper
from .channels import INTENSITY, ChannelImage
from .linear_similarity import UNEXPLAINED

# Spacing in mm at which the images are compared, and half the edge of a window in its voxels.
SPACING, RADIUS = 2.0, 2
# The gain of a place is its mean over a Gaussian of this standard deviation in mm.
SIGMA_MM = 8.0
# With less gain than the first, nothing of a deformation is kept; with more than the second, all of it. Chosen on
# scans of one head without deformation, which gained -0.09 to 0.25 on average over the head, and on heads deformed by
# 8 mm, which gained 0.57 to 1.4, in like and unlike contrasts (docs/develop/experiments.md).
LOCAL_GAIN = 0.15, 0.3
WHOLE_HEAD_GAIN = 0.25, 0.4
# Voxels with less intensity are air.
HEAD_INTENSITY = 0.05
# Where nothing near is compared, the weight of what lies around decides.
MIN_COMPARED = 1e-3


def supported(field: torch.Tensor, gain: torch.Tensor, fixed: ChannelImage) -> torch.Tensor:
    """Scale a field at each place by how well the images support it: 1 for well, 0 for not at all.

    :param field: (1, 3, d, h, w) in its voxels, over the box of the fixed image.
    :param gain: of :func:`gained_information`.
    :returns: the same shape.
    """
    factor = comparison_factor(fixed.grid)
    compared = head_of(fixed).float()
    if fixed.compared is not None:
        compared = compared * downsample(fixed.compared, factor)
    average = float((gain * compared).sum() / compared.sum().clamp(min=1.0))
    sigma = SIGMA_MM / (factor * fixed.grid.mean_spacing)
    local = smooth(gain * compared, sigma) / smooth(compared, sigma).clamp(min=MIN_COMPARED)
    weight = smooth(_ramp(local, *LOCAL_GAIN), sigma).clamp(
        min=float(_ramp(gain.new_tensor(average), *WHOLE_HEAD_GAIN))
    )
    return field * resize_image(weight, field.shape[2:])


def comparison_factor(grid: Grid) -> int:
    """Return the downsampling factor from a prepared image's grid to that on which the images are compared."""
    return max(1, round(SPACING / grid.mean_spacing))


def head_of(fixed: ChannelImage) -> torch.Tensor:
    """Return the voxels of the head on the grid on which the images are compared, (1, 1, d, h, w)."""
    return downsample(fixed.channels[INTENSITY], comparison_factor(fixed.grid)) > HEAD_INTENSITY


def gained_information(field: torch.Tensor, fixed: ChannelImage, moving: ChannelImage, affine: Affine) -> torch.Tensor:
    """Return how much more the windows of two images tell about each other with a field than without it.

    What they tell is ``-log(1 - r^2)``, twice the mutual information of Gaussian variables with correlation ``r``.

    :param field: (1, 3, d, h, w) in its voxels, over the box of the fixed image.
    :param affine: fixed points to moving points, applied after the field.
    :returns: (1, 1, d, h, w), on the fixed grid, coarser by :func:`comparison_factor`.
    """
    factor = comparison_factor(fixed.grid)
    target = downsample(fixed.channels[INTENSITY], factor)
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.channels[INTENSITY], matrix, fixed.grid.shape, factor)
    after, before = (
        (1.0 + UNEXPLAINED - local_correlation(warper(each), target, RADIUS)).log()
        for each in (field, torch.zeros_like(field))
    )
    return before - after


def _ramp(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return ((values - low) / (high - low)).clamp(0.0, 1.0)
