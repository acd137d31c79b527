"""Upsample logits to twice the resolution and take the most probable channel.

Logits are interpolated, not labels: borders come out smooth, and finer than the network's voxels. Most voxels are
background, and most others can only be one or two structures: only the possible channels are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from ..spatial.arrays import array_from_tensor

# A channel with a smaller posterior than this is not considered.
MIN_POSTERIOR = 1e-2
# Linear interpolation along an axis: the weights of the previous voxel, the voxel and the next one in its two halves.
TRILINEAR_HALVES = ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))
# Voxels that are computed at once, so that what they need fits into the processor's cache.
BLOCK_VOXELS = 2**15

LogLikelihoodRatio = Callable[[int, torch.Tensor], torch.Tensor]


def argmax_upsampled(
    logits: torch.Tensor,
    posteriors: torch.Tensor,
    image: torch.Tensor,
    log_likelihood_ratio: LogLikelihoodRatio,
    update: Callable[[float], None] = lambda fraction: None,
) -> np.ndarray:
    """Return the channel with the largest sum of interpolated logit and log-likelihood ratio in each fine voxel.

    :param logits: (1, K, d, h, w); the first channel is background.
    :param posteriors: their softmax.
    :param image: (1, 1, 2 d, 2 h, 2 w), the intensities.
    :param log_likelihood_ratio: takes a channel and (N, 8) intensities, and returns what to add to its logits.
    :param update: called with the fraction done.
    :returns: uint8, (2 d, 2 h, 2 w).
    """
    shape = logits.shape[2:]
    inside = torch.nonzero(posteriors[0, 0].flatten() < 1.0 - MIN_POSTERIOR).flatten()
    possible = _rows(posteriors).index_select(0, inside) > MIN_POSTERIOR
    # As bytes, a sum over a short axis takes a quarter of the time.
    flags = possible.view(torch.uint8)
    labels = torch.zeros(shape.numel(), 8, dtype=torch.uint8, device=logits.device)
    # Where a single channel is possible there is nothing to compute.
    labels[inside] = flags.argmax(dim=1).to(torch.uint8)[:, None]
    contested = torch.nonzero(flags.sum(dim=1, dtype=torch.uint8) > 1).flatten()
    for start in range(0, len(contested), BLOCK_VOXELS):
        update(start / len(contested))
        block = contested[start : start + BLOCK_VOXELS]
        voxels = inside[block]
        around = _neighbours(voxels, shape, torch.arange(-1, 2)) * logits.shape[1]
        values = image.take(_neighbours(voxels, shape, torch.arange(2), factor=2))
        labels[voxels] = _best_channels(_rows(logits), around, possible[block], values, log_likelihood_ratio)
    fine = labels.view(*shape, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape([2 * size for size in shape])
    return array_from_tensor(fine)


def _best_channels(
    rows: torch.Tensor,
    around: torch.Tensor,
    possible: torch.Tensor,
    values: torch.Tensor,
    log_likelihood_ratio: LogLikelihoodRatio,
) -> torch.Tensor:
    """Return the best channel in the eighths of some voxels.

    :param rows: the logits, (d h w, K).
    :param around: (N, 27), where the first channels of the voxels' neighbours lie in ``rows``.
    :param possible: (N, K), where a channel may be the strongest.
    :param values: (N, 8), of the image.
    :returns: uint8, (N, 8).
    """
    weights = _trilinear_weights().to(rows.device)
    best = torch.full_like(values, -torch.inf)
    found = torch.zeros_like(values, dtype=torch.uint8)
    for channel in torch.nonzero(possible.any(dim=0)).flatten().tolist():
        there = torch.nonzero(possible[:, channel]).flatten()
        logits = rows.take(around.index_select(0, there).add_(channel)) @ weights
        score, before = logits + log_likelihood_ratio(channel, values[there]), best[there]
        found[there] = found[there].masked_fill(score > before, channel)
        best[there] = torch.maximum(score, before)
    return found


def _rows(channels: torch.Tensor) -> torch.Tensor:
    """Rearrange (1, K, d, h, w) to (d h w, K), which is free with the channels last in memory."""
    return channels[0].movedim(0, -1).reshape(-1, channels.shape[1])


@cache
def _trilinear_weights() -> torch.Tensor:
    """Return the trilinear weight of each of 27 neighbours in each eighth of a voxel, (27, 8)."""
    halves = torch.tensor(TRILINEAR_HALVES)
    return torch.einsum("ai,bj,ck->ijkabc", halves, halves, halves).reshape(27, 8)


def _neighbours(voxels: torch.Tensor, shape: torch.Size, steps: torch.Tensor, factor: int = 1) -> torch.Tensor:
    """Return the numbers of the voxels around others in a grid, edges replicated: (N, steps^3).

    :param voxels: their numbers in a grid, (N,).
    :param shape: of that grid.
    :param steps: along each axis.
    :param factor: by which the other grid is finer.
    """
    axes = voxels // (shape[1] * shape[2]), voxels // shape[2] % shape[1], voxels % shape[2]
    steps = steps.to(voxels.device)
    depth, height, width = (
        (factor * axis[:, None] + steps).clamp(0, factor * size - 1) for axis, size in zip(axes, shape, strict=True)
    )
    layers = depth[:, :, None] * (factor * shape[1]) + height[:, None]
    return (layers[..., None] * (factor * shape[2]) + width[:, None, None]).flatten(1)
