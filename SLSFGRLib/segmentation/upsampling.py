"""From logits on a coarse grid to labels on one of twice the resolution.

Logits are interpolated, not labels: borders come out smooth, and finer than the network's voxels. Most of an image
is none of the structures, and most other voxels can only be one or two: only what is possible is worked out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.nn import functional

# Where the network gives a structure less than this, it is not the one that is there.
LEAST_SHARE = 1e-2
NEIGHBOURS = 27
# Along an axis, the parts of the voxel before, of the voxel itself and of the one behind in its two halves.
HALVES = ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25))

Box = tuple[slice, slice, slice]
Evidence = Callable[[int, torch.Tensor], torch.Tensor]


def strongest_channels(
    logits: torch.Tensor,
    shares: torch.Tensor,
    image: torch.Tensor,
    evidence: Evidence,
    update: Callable[[float], None] = lambda fraction: None,
) -> np.ndarray:
    """The channel with the largest sum of logit and evidence in each voxel of the grid with twice the resolution.

    :param logits: (1, K, d, h, w), of which the first channel is background.
    :param shares: their softmax.
    :param image: (1, 1, 2 d, 2 h, 2 w), what the evidence is drawn from.
    :param evidence: of a channel, given values of the image: to be added to its interpolated logits.
    :param update: called with the fraction done.
    :returns: uint8, (2 d, 2 h, 2 w).
    """
    labels = np.zeros(image.shape[2:], dtype=np.uint8)
    box = _box_about(shares[0, 0] < 1.0 - LEAST_SHARE)
    if box is not None:
        fine = tuple(slice(2 * side.start, 2 * side.stop) for side in box)
        inside = logits[0][(slice(None), *box)]
        possible = _rows(shares[0][(slice(None), *box)]) > LEAST_SHARE
        # Where a single channel is possible there is nothing to work out.
        blocks = possible.to(torch.uint8).argmax(dim=1).to(torch.uint8)[:, None].repeat(1, 8)
        contested = torch.nonzero(possible.sum(dim=1) > 1).flatten()
        values = _in_blocks(image[0, 0][fine])[contested]
        blocks[contested] = _strongest_in_blocks(inside, contested, possible[contested], values, evidence, update)
        labels[fine] = _out_of_blocks(blocks, inside.shape[1:]).cpu().numpy()
    return labels


def _strongest_in_blocks(
    logits: torch.Tensor,
    contested: torch.Tensor,
    possible: torch.Tensor,
    values: torch.Tensor,
    evidence: Evidence,
    update: Callable[[float], None],
) -> torch.Tensor:
    """The strongest channel in the eighths of some coarse voxels.

    :param logits: (K, d, h, w).
    :param contested: (N,), which voxels.
    :param possible: (N, K), where a channel may be the strongest.
    :param values: (N, 8), of the image.
    :returns: uint8, (N, 8).
    """
    shape = logits.shape[1:]
    # A matrix is brought from one order of memory to the other in a third of the time of a volume.
    by_channel = _rows(logits).t().contiguous().view(logits.shape)
    padded = functional.pad(by_channel[None], (1,) * 6, mode="replicate")[0].flatten(1)
    places = _places_with_margin(shape, logits.device)[contested]
    offsets, parts = _neighbours(shape).to(logits.device), _parts().to(logits.device)
    best = torch.full_like(values, -torch.inf)
    found = torch.zeros_like(values, dtype=torch.uint8)
    for channel, mask in enumerate(possible.t().contiguous()):
        update(channel / len(padded))
        there = torch.nonzero(mask).flatten()
        around = padded[channel].take(places[there, None] + offsets)
        score, before = around @ parts + evidence(channel, values[there]), best[there]
        found[there] = found[there].masked_fill(score > before, channel)
        best[there] = torch.maximum(score, before)
    return found


def _rows(channels: torch.Tensor) -> torch.Tensor:
    """(K, d, h, w) to (d h w, K)."""
    return channels.movedim(0, -1).reshape(-1, len(channels))


@cache
def _parts() -> torch.Tensor:
    """How much each of 27 neighbours counts in each eighth of a voxel, as in trilinear interpolation: (27, 8)."""
    halves = torch.tensor(HALVES)
    return torch.einsum("ai,bj,ck->ijkabc", halves, halves, halves).reshape(NEIGHBOURS, 8)


def _places_with_margin(shape: torch.Size, device: torch.device) -> torch.Tensor:
    """Where in memory the voxels of a grid are when it has a margin of one voxel: (d h w,)."""
    numbers = torch.arange(int(np.prod([size + 2 for size in shape])), device=device)
    return numbers.view([size + 2 for size in shape])[1:-1, 1:-1, 1:-1].flatten()


def _neighbours(shape: torch.Size) -> torch.Tensor:
    """How far in memory the neighbours of a voxel are in the grid with a margin, and itself: (27,)."""
    row, layer = shape[2] + 2, (shape[1] + 2) * (shape[2] + 2)
    steps = torch.arange(-1, 2)
    return (steps[:, None, None] * layer + steps[:, None] * row + steps).flatten()


def _in_blocks(image: torch.Tensor) -> torch.Tensor:
    """(2 d, 2 h, 2 w) to the eighths of each coarse voxel, (d h w, 8)."""
    depth, height, width = (size // 2 for size in image.shape)
    return image.reshape(depth, 2, height, 2, width, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 8)


def _out_of_blocks(blocks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """(d h w, 8) to (2 d, 2 h, 2 w)."""
    return blocks.view(*shape, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape([2 * size for size in shape])


def _box_about(mask: torch.Tensor) -> Box | None:
    """The box about the true voxels of a (D, H, W) mask, with a margin for interpolating; None if there are none."""
    if not mask.any():
        return None
    sides = (mask.any(dim=one).any(dim=other) for one, other in ((1, 1), (0, 1), (0, 0)))
    indices = (torch.nonzero(side).flatten() for side in sides)
    return tuple(
        slice(max(0, int(inside[0]) - 1), min(size, int(inside[-1]) + 2))
        for inside, size in zip(indices, mask.shape, strict=True)
    )
