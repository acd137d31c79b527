"""Blockwise processing of volumes.

A chain of simple operations on whole volumes reads them from memory for every operation. In blocks that fit into the
processor's cache it reads them once, and is several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

# Values of a block, so that a few blocks fit into the cache of today's processors.
BLOCK_VALUES = 2**19


def apply_blockwise(function: Callable[..., torch.Tensor], *volumes: torch.Tensor, across: int = 2) -> torch.Tensor:
    """Return ``function(*volumes)``, computed block by block where that is faster.

    :param function: of tensors to a tensor, in which positions along the axis ``across`` are independent of each other;
        it may change its arguments in place.
    :param volumes: (B, C, D, H, W) with any number of channels each, of one size along ``across``.
    :param across: the axis that is split.
    :returns: (B, C, ...).
    """
    size = volumes[0].shape[across]
    thickness = max(1, BLOCK_VALUES * size // volumes[0].numel())
    is_recorded = torch.is_grad_enabled() and any(volume.requires_grad for volume in volumes)
    if thickness >= size or is_recorded or volumes[0].device.type != "cpu":
        return function(*volumes)
    found = None
    for start in range(0, size, thickness):
        part = function(*(volume.narrow(across, start, min(thickness, size - start)) for volume in volumes))
        if found is None:
            shape = list(part.shape)
            shape[across] = size
            found = part.new_empty(shape)
        found.narrow(across, start, part.shape[across]).copy_(part)
    return found


def apply_along_each_axis(function: Callable[..., torch.Tensor], volume: torch.Tensor) -> torch.Tensor:
    """Apply a separable filter along each of the last three axes, block by block.

    :param function: of a volume and ``axis``, which keeps the volume's shape.
    :param volume: (B, C, D, H, W).
    """
    for axis in (2, 3, 4):
        volume = apply_blockwise(partial(function, axis=axis), volume, across=3 if axis == 2 else 2)
    return volume
