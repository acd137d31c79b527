"""Maps of fluid, grey and white matter, to compare two images by; alike in images of any contrast.

Each voxel is judged by its brightness alone, against that of the tissues near it: coils see what is near them
brighter, and some parts of the cortex hold more myelin than others. Where the structures lie takes no part, so that
two images can be compared without what the network has got wrong.
"""

from __future__ import annotations

from functools import partial

import torch

from ..spatial.blockwise import apply_blockwise
from ..spatial.fields import downsample, pad_to_multiple, resize_image, smooth
from .intensity_model import TYPICAL, StructureBrightness, log_likelihood

TISSUES = tuple(TYPICAL)
# Told more sharply, and not near the deep structures: for the finest level, where borders already lie near each other.
DISTINCT_WHITE = "distinct white matter"
MAPS = (*TISSUES, DISTINCT_WHITE)
# Brightness of what surrounds the head, or the brain.
EMPTY = 0.02
# How far the brightness of grey and white matter is taken for the same: standard deviation of a Gaussian.
REACH_MM = 12.0
# It is found from voxels at this distance, not from averages of more, in which tissues mix; and averaged over blocks of
# so many of them a side.
SEARCH_MM, BLOCK = 2.0, 2
ITERATIONS = 3
# Of a tissue, fewer of it than this within reach are helped out with its mean in the whole image.
FEW = 0.02
# How many times the tissues' variance the maps allow for: voxels in which tissues mix then keep their order, where
# sharp maps would have steps.
SOFTNESS = 3.0
# About deep structures: how far, and how steeply.
MARGIN_MM, MARGIN_SLOPE = 4.0, 4.0


def tissue_maps(
    image: torch.Tensor, brightness: StructureBrightness, deep: torch.Tensor, spacing: float
) -> torch.Tensor:
    """How likely each voxel is what is named in :data:`MAPS`.

    They are faint in the deep structures, which are between grey and white in brightness: there the image itself says
    more.

    :param image: (1, 1, D, H, W), from 0 to 1.
    :param deep: share of the deep structures in each voxel, of the same shape.
    :param spacing: of the voxels, in mm.
    :returns: (1, 4, D, H, W), from 0 to 1; 0 where the image is empty.
    """
    mean, variances = brightness.typical()
    # One for all: with a smaller one for white matter, as it often is, borders with the cortex move into it.
    variance = variances[1:].mean()
    search = max(1, round(SEARCH_MM / spacing))
    block = search * BLOCK
    searched = image[:, :, ::search, ::search, ::search]
    means = _means_nearby(searched, mean, variance, REACH_MM / (block * spacing))
    margin = _averaged(deep, block, MARGIN_MM / (block * spacing)).mul_(MARGIN_SLOPE).clamp_(max=1.0)
    nearby = _resized(torch.cat([means, margin], dim=1), image.shape[2:], block)
    return apply_blockwise(partial(_maps, fluid=mean[0], variance=variance), image, deep, nearby)


def _maps(
    image: torch.Tensor, deep: torch.Tensor, nearby: torch.Tensor, fluid: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """The maps of some slices.

    :param nearby: the means of grey and white matter about each voxel, and how near deep structures are, (1, 3, ...).
    :param fluid: its mean.
    :param variance: of every tissue.
    """
    solid, margin = nearby.split([2, 1], dim=1)
    inside = image > EMPTY
    soft = _posterior(image, fluid, solid, SOFTNESS * variance).mul_(inside * (1.0 - deep))
    distinct = _posterior(image, fluid, solid, variance)[:, 2:].mul_(inside * (1.0 - torch.maximum(deep, margin)))
    return torch.cat([soft, distinct], dim=1)


def _means_nearby(image: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, reach: float) -> torch.Tensor:
    """The brightness of grey and of white matter about each block of voxels, (1, 2, d, h, w).

    :param reach: standard deviation of the Gaussian, in blocks.
    """
    everywhere, inside = mean[1:].view(1, 2, 1, 1, 1), image > EMPTY
    solid = everywhere.expand(1, 2, *image.shape[2:])
    for iteration in range(ITERATIONS):
        # Sure voxels count for more, as they do in StructureBrightness.
        weights = _posterior(image, mean[0], solid, variance)[:, 1:].mul_(inside).square_()
        sums, counts = _averaged(torch.cat([weights * image, weights], dim=1), BLOCK, reach).split(2, dim=1)
        blocks = (sums + FEW * everywhere) / (counts + FEW)
        if iteration < ITERATIONS - 1:
            solid = _resized(blocks, image.shape[2:], BLOCK)
    return blocks


def _posterior(image: torch.Tensor, fluid: torch.Tensor, solid: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """How likely fluid, grey and white matter are, (1, 3, ...), by the mean of the first and those of the others."""
    fluid = fluid.expand(1, 1, *image.shape[2:])
    return log_likelihood(image, torch.cat([fluid, solid], dim=1), variance).softmax(dim=1)


def _averaged(volume: torch.Tensor, factor: int, blur: float) -> torch.Tensor:
    """The volume on blocks of ``factor`` voxels a side, blurred by a Gaussian of ``blur`` blocks."""
    return smooth(downsample(pad_to_multiple(volume, factor, mode="constant"), factor), blur)


def _resized(blocks: torch.Tensor, shape: torch.Size, factor: int) -> torch.Tensor:
    """What was found on blocks of ``factor`` voxels a side, on the voxels."""
    whole = resize_image(blocks, [factor * size for size in blocks.shape[2:]])
    return whole[..., : shape[0], : shape[1], : shape[2]]
