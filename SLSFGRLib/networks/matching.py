"""How well each voxel's features match those of its neighbours in the other image."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

# All shifts of at most one voxel along each axis.
SHIFTS = tuple(product((0, 1, 2), repeat=3))


def local_matches(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """Scalar products of each fixed voxel's features with those of the 27 moving voxels about the same place.

    :param moving: (B, C, D, H, W).
    :param fixed: likewise.
    :returns: (B, 27, D, H, W), divided by the root of C; zero beyond the border.
    """
    depth, height, width = fixed.shape[2:]
    padded = functional.pad(moving, (1, 1, 1, 1, 1, 1))
    products = [(padded[:, :, d : d + depth, h : h + height, w : w + width] * fixed).sum(dim=1) for d, h, w in SHIFTS]
    return torch.stack(products, dim=1) / fixed.shape[1] ** 0.5
