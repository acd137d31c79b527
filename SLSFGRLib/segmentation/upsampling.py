"""Upsample logits to twice the resolution and take the most probable channel.

Logits are interpolated, not labels: borders come out smooth, and finer than the network's voxels. Most voxels are
background, and most others can only be one or two structures: only the possible channels are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.nn import functional

# A channel with a smaller posterior than this is not considered.
MIN_POSTERIOR = 1e-2
NEIGHBOURS = 27
# Linear interpolation along an axis: the weights of the previous voxel, the voxel and the next one in its two halves.
TRILINEAR_HALVES = ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))

Box = tuple[slice, slice, slice]
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
    labels = np.zeros(image.shape[2:], dtype=np.uint8)
    box = _bounding_box(posteriors[0, 0] < 1.0 - MIN_POSTERIOR)
    if box is not None:
        fine = tuple(slice(2 * side.start, 2 * side.stop) for side in box)
        inside = logits[0][(slice(None), *box)]
        possible = _rows(posteriors[0][(slice(None), *box)] > MIN_POSTERIOR)
        # As bytes, a sum over a short axis takes a quarter of the time.
        flags = possible.view(torch.uint8)
        # Where a single channel is possible there is nothing to compute.
        blocks = flags.argmax(dim=1).to(torch.uint8)[:, None].repeat(1, 8)
        contested = torch.nonzero(flags.sum(dim=1, dtype=torch.uint8) > 1).flatten()
        values = _in_blocks(image[0, 0][fine])[contested]
        blocks[contested] = _argmax_in_blocks(
            inside, contested, possible[contested], values, log_likelihood_ratio, update
        )
        labels[fine] = _out_of_blocks(blocks, inside.shape[1:]).cpu().numpy()
    return labels


def _argmax_in_blocks(
    logits: torch.Tensor,
    contested: torch.Tensor,
    possible: torch.Tensor,
    values: torch.Tensor,
    log_likelihood_ratio: LogLikelihoodRatio,
    update: Callable[[float], None],
) -> torch.Tensor:
    """Return the best channel in the eighths of some coarse voxels.

    :param logits: (K, d, h, w).
    :param contested: (N,), which voxels.
    :param possible: (N, K), where a channel may be the strongest.
    :param values: (N, 8), of the image.
    :returns: uint8, (N, 8).
    """
    shape = logits.shape[1:]
    # Transposing a matrix takes a third of the time of permuting a volume.
    by_channel = _rows(logits).t().contiguous().view(logits.shape)
    padded = functional.pad(by_channel[None], (1,) * 6, mode="replicate")[0].flatten(1)
    positions = _positions_with_margin(shape, logits.device)[contested]
    offsets, weights = _neighbours(shape).to(logits.device), _trilinear_weights().to(logits.device)
    best = torch.full_like(values, -torch.inf)
    found = torch.zeros_like(values, dtype=torch.uint8)
    for channel, mask in enumerate(possible.t().contiguous()):
        update(channel / len(padded))
        there = torch.nonzero(mask).flatten()
        around = padded[channel].take(positions[there, None] + offsets)
        score, before = around @ weights + log_likelihood_ratio(channel, values[there]), best[there]
        found[there] = found[there].masked_fill(score > before, channel)
        best[there] = torch.maximum(score, before)
    return found


def _rows(channels: torch.Tensor) -> torch.Tensor:
    """Rearrange (K, d, h, w) to (d h w, K)."""
    return channels.movedim(0, -1).reshape(-1, len(channels))


@cache
def _trilinear_weights() -> torch.Tensor:
    """Return the trilinear weight of each of 27 neighbours in each eighth of a voxel, (27, 8)."""
    halves = torch.tensor(TRILINEAR_HALVES)
    return torch.einsum("ai,bj,ck->ijkabc", halves, halves, halves).reshape(NEIGHBOURS, 8)


def _positions_with_margin(shape: torch.Size, device: torch.device) -> torch.Tensor:
    """Return the memory offsets of a grid's voxels inside the grid with a margin of one voxel: (d h w,)."""
    numbers = torch.arange(int(np.prod([size + 2 for size in shape])), device=device)
    return numbers.view([size + 2 for size in shape])[1:-1, 1:-1, 1:-1].flatten()


def _neighbours(shape: torch.Size) -> torch.Tensor:
    """Return the memory offsets from a voxel to its neighbours and itself in the grid with a margin: (27,)."""
    row, layer = shape[2] + 2, (shape[1] + 2) * (shape[2] + 2)
    steps = torch.arange(-1, 2)
    return (steps[:, None, None] * layer + steps[:, None] * row + steps).flatten()


def _in_blocks(image: torch.Tensor) -> torch.Tensor:
    """Rearrange (2 d, 2 h, 2 w) to the eighths of each coarse voxel, (d h w, 8)."""
    depth, height, width = (size // 2 for size in image.shape)
    return image.reshape(depth, 2, height, 2, width, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 8)


def _out_of_blocks(blocks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Rearrange (d h w, 8) to (2 d, 2 h, 2 w)."""
    return blocks.view(*shape, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape([2 * size for size in shape])


def _bounding_box(mask: torch.Tensor) -> Box | None:
    """Return the bounding box of a (D, H, W) mask with a margin of one voxel; None if the mask is empty."""
    if not mask.any():
        return None
    sides = (mask.any(dim=one).any(dim=other) for one, other in ((1, 1), (0, 1), (0, 0)))
    indices = (torch.nonzero(side).flatten() for side in sides)
    return tuple(
        slice(max(0, int(inside[0]) - 1), min(size, int(inside[-1]) + 2))
        for inside, size in zip(indices, mask.shape, strict=True)
    )
