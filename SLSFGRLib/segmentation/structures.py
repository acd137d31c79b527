"""Volumes and centroids of the structures in a segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..spatial.grid import Grid


@dataclass(frozen=True)
class Structures:
    """Where the structures of a brain lie.

    :param volumes: (K,) in mm3.
    :param centroids: (K, 3) in LPS mm.
    """

    volumes: np.ndarray
    centroids: np.ndarray

    @classmethod
    def of(cls, shares: torch.Tensor, grid: Grid) -> Structures:
        """From a segmentation.

        :param shares: (K, D, H, W) shares of the structures in each voxel, without background.
        """
        axes = [torch.arange(size, dtype=torch.float32, device=shares.device) for size in shares.shape[1:]]
        # About the middle, so that single precision suffices for the sums.
        middle = torch.tensor([(size - 1) / 2.0 for size in shares.shape[1:]])
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) - middle.to(shares.device)
        columns = torch.cat([torch.ones_like(places[..., :1]), places], dim=-1).flatten(0, 2)
        # Voxels first, as channels that come last in memory already lie.
        sums = (columns.mT @ shares.movedim(0, -1).flatten(0, 2)).mT.double().cpu()
        volumes = sums[:, 0]
        voxels = (sums[:, 1:] / volumes.clamp(min=1e-6)[:, None] + middle).numpy()
        points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
        return cls(volumes.numpy() * float(np.prod(grid.spacing)), points)
