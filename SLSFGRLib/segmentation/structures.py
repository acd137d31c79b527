"""Volumes and centroids of the structures in a segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor
from ..spatial.grid import Grid


@dataclass(frozen=True)
class StructureCentroids:
    """Where the structures of a brain lie.

    :param volumes: (K,) in mm3.
    :param centroids: (K, 3) in LPS mm.
    """

    volumes: np.ndarray
    centroids: np.ndarray

    @classmethod
    def from_posteriors(cls, posteriors: torch.Tensor, grid: Grid) -> StructureCentroids:
        """Measure the structures of a segmentation.

        :param posteriors: (K, D, H, W) posterior probabilities of the structures, without background.
        """
        axes = [torch.arange(size, dtype=torch.float32, device=posteriors.device) for size in posteriors.shape[1:]]
        # Around the middle, so that single precision suffices for the sums.
        middle = torch.tensor([(size - 1) / 2.0 for size in posteriors.shape[1:]])
        positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) - middle.to(posteriors.device)
        columns = torch.cat([torch.ones_like(positions[..., :1]), positions], dim=-1).flatten(0, 2)
        # Voxels first, as channels that come last in memory already lie.
        sums = (columns.mT @ posteriors.movedim(0, -1).flatten(0, 2)).mT.double().cpu()
        volumes = sums[:, 0]
        voxels = array_from_tensor(sums[:, 1:] / volumes.clamp(min=1e-6)[:, None] + middle)
        return cls(array_from_tensor(volumes) * float(np.prod(grid.spacing)), Affine(grid.matrix).apply(voxels))
