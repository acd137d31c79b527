"""Warp an image through a displacement field and an affine transform in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .arrays import tensor_from_array
from .fields import moving_average, resize_field, sample, voxel_grid


class AffineWarper:
    """A warp of the moving image by a field and an affine matrix in one interpolation, so that it is blurred once.

    :param moving: (1, C, D, H, W).
    :param matrix: 4x4, voxels of the full fixed grid to voxels of ``moving``.
    :param shape: of the full fixed grid.
    :param factor: downsampling factor of this level.
    """

    def __init__(self, moving: torch.Tensor, matrix: np.ndarray, shape: tuple[int, ...], factor: int) -> None:
        # With the channels last in memory, sampling takes half the time.
        self.moving = moving_average(moving, factor).contiguous(memory_format=torch.channels_last_3d)
        # Voxel x of this level lies at factor x + middle of the full grid.
        middle = (factor - 1) / 2
        shift = matrix[:3, :3] @ np.full(3, middle) + matrix[:3, 3] - middle
        self.linear = tensor_from_array(factor * matrix[:3, :3], torch.float32, moving.device)
        self.shape = [size // factor for size in shape]
        shift = tensor_from_array(shift, torch.float32, moving.device).view(1, 3, 1, 1, 1)
        self.positions = self._linearly_mapped(voxel_grid(self.shape, moving.device)) + shift

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """Return the warped image on this level's grid, for a field on any grid over the same box."""
        return sample(self.moving, self.positions + self._linearly_mapped(resize_field(field, self.shape)))

    def _linearly_mapped(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.einsum("rc,bcdhw->brdhw", self.linear, vectors)


def affinely_warped(image: torch.Tensor, matrix: np.ndarray, shape: Sequence[int]) -> torch.Tensor:
    """Resample an image by an affine matrix alone, (1, C, *shape).

    :param image: (1, C, D, H, W).
    :param matrix: 4x4, voxels of the new grid to voxels of the image.
    :param shape: of the new grid.
    """
    return AffineWarper(image, matrix, tuple(shape), factor=1)(image.new_zeros(1, 3, *shape))
