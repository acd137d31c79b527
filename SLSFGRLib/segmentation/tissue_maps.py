"""Tissue probability maps (CSF, GM, WM), to compare two images of any contrasts by.

Each voxel is judged by its intensity, against the mean intensities of the tissues near it: this handles the bias field,
and cortex with more myelin. In T1 and T2 images the intensity alone decides, so that errors of the segmentation do not
enter the comparison of two images. Where GM is the brightest, as in FLAIR and PD, its border with WM is faint, and
partial volume of GM and CSF looks like WM; there the network's tissues are the prior.
"""

from __future__ import annotations

from functools import partial

import torch

from ..spatial.blockwise import apply_blockwise
from ..spatial.fields import block_means, resize_blocks, resize_image
from .intensity_model import IntensityModel, log_likelihood

TISSUES = ("csf", "gm", "wm")
# White matter with sharper borders, and zero near the deep structures: for the finest level, where borders are already
# close to each other.
SHARP_WHITE_MATTER = "sharp_wm"
MAPS = (*TISSUES, SHARP_WHITE_MATTER)
# Intensity below which a voxel is background.
BACKGROUND = 0.02
# Standard deviation of the Gaussian window in which tissue intensities are averaged: how fast a bias field may change.
WINDOW_MM = 12.0
# The local means are estimated from every second millimetre, not from averages, in which tissues mix; and on blocks of
# this many such samples along each axis.
SAMPLE_MM, BLOCK = 2.0, 2
ITERATIONS = 3
# Pseudo-count of the global mean in a local mean.
PRIOR_COUNT = 0.02
# Inflation of the variance in the soft maps: partial-volume voxels keep their order, where sharp maps would have steps.
VARIANCE_INFLATION = 3.0
# Lower bound of the network's probability of a tissue: the intensity can always contradict it.
MIN_PRIOR = 0.02
# The margin around deep structures in which sharp white matter is zero, and how steeply it rises beyond.
DEEP_MARGIN_MM, DEEP_MARGIN_SLOPE = 4.0, 4.0


def tissue_maps(
    image: torch.Tensor,
    model: IntensityModel,
    deep: torch.Tensor,
    spacing: float,
    prior: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the posterior probability of each of :data:`MAPS`.

    The maps are faint in the deep structures, whose intensity lies between GM and WM: there the image says more.

    :param image: (1, 1, D, H, W), from 0 to 1.
    :param deep: posterior probability of the deep structures, of the same shape.
    :param spacing: of the voxels, in mm.
    :param prior: (1, 3, d, h, w), the probabilities of CSF, GM and WM before the intensity is known; None if equal.
    :returns: (1, 4, D, H, W), from 0 to 1; 0 in the background.
    """
    mean, variances = model.tissues()
    # One variance for all: with the smaller one of white matter, its border with the cortex would move into it.
    variance = variances[1:].mean()
    step = max(1, round(SAMPLE_MM / spacing))
    block = step * BLOCK
    samples = image[:, :, ::step, ::step, ::step]
    means = _local_means(samples, mean, variance, WINDOW_MM / (block * spacing))
    margin = block_means(deep, block, DEEP_MARGIN_MM / (block * spacing)).mul_(DEEP_MARGIN_SLOPE).clamp_(max=1.0)
    local = resize_blocks(torch.cat([means, margin], dim=1), image.shape[2:], block)
    priors = () if prior is None else (resize_image(prior, image.shape[2:]),)
    return apply_blockwise(partial(_maps, csf=mean[0], variance=variance), image, deep, local, *priors)


def _maps(
    image: torch.Tensor,
    deep: torch.Tensor,
    local: torch.Tensor,
    prior: torch.Tensor | None = None,
    *,
    csf: torch.Tensor,
    variance: torch.Tensor,
) -> torch.Tensor:
    """Return the maps of some slices.

    :param local: (1, 3, ...): the local means of GM and WM, and the nearness of deep structures.
    :param csf: its mean.
    """
    solid, margin = local.split([2, 1], dim=1)
    inside = image > BACKGROUND
    soft = _posterior(image, csf, solid, VARIANCE_INFLATION * variance, prior).mul_(inside * (1.0 - deep))
    sharp = _posterior(image, csf, solid, variance, prior)[:, 2:].mul_(inside * (1.0 - torch.maximum(deep, margin)))
    return torch.cat([soft, sharp], dim=1)


def _local_means(image: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, window: float) -> torch.Tensor:
    """Return the mean intensity of GM and WM around each block of voxels, (1, 2, d, h, w).

    :param window: standard deviation of the Gaussian, in blocks.
    """
    everywhere, inside = mean[1:].view(1, 2, 1, 1, 1), image > BACKGROUND
    solid = everywhere.expand(1, 2, *image.shape[2:])
    for iteration in range(ITERATIONS):
        # Weighted by the squared posterior, as in the intensity model.
        weights = _posterior(image, mean[0], solid, variance)[:, 1:].mul_(inside).square_()
        sums, counts = block_means(torch.cat([weights * image, weights], dim=1), BLOCK, window).split(2, dim=1)
        blocks = (sums + PRIOR_COUNT * everywhere) / (counts + PRIOR_COUNT)
        if iteration < ITERATIONS - 1:
            solid = resize_blocks(blocks, image.shape[2:], BLOCK)
    return blocks


def _posterior(
    image: torch.Tensor,
    csf: torch.Tensor,
    solid: torch.Tensor,
    variance: torch.Tensor,
    prior: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the posteriors of CSF, GM and WM, (1, 3, ...), given the mean of the first and those of the others."""
    csf = csf.expand(1, 1, *image.shape[2:])
    score = log_likelihood(image, torch.cat([csf, solid], dim=1), variance)
    if prior is not None:
        score = score + prior.clamp(min=MIN_PRIOR).log()
    return score.softmax(dim=1)
