"""Working through volumes slab by slab.

What a processor has in its cache it works on several times faster than what it must fetch from memory. A chain of
simple operations on whole volumes fetches each of them anew for every operation; slab by slab, once in all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

# As many values as a few volumes can have in the cache of any processor of today.
SLAB_VALUES = 2**19


def apply_blockwise(function: Callable[..., torch.Tensor], *volumes: torch.Tensor, across: int = 2) -> torch.Tensor:
    """What a function gives for whole volumes, worked out slab by slab where that is faster.

    :param function: of tensors to a tensor, in which no two positions of the axis ``across`` have to do with each
        other; it may change its arguments in place.
    :param volumes: (B, C, D, H, W) with any number of channels each, of one size along ``across``.
    :param across: the axis that is cut.
    :returns: (B, C, ...), the same tensor as ``function(*volumes)``.
    """
    size = volumes[0].shape[across]
    thickness = max(1, SLAB_VALUES * size // volumes[0].numel())
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
    """Apply a filter of lines along one of the last three axes after the other, slab by slab.

    :param function: of a volume and ``axis``, which leaves its shape as it is.
    :param volume: (B, C, D, H, W).
    """
    for axis in (2, 3, 4):
        volume = apply_blockwise(partial(function, axis=axis), volume, across=3 if axis == 2 else 2)
    return volume
