"""Where the brain lies in an image, and what of the image is kept around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from ..spatial.grid import Grid, image_from_array
from .intensities import head_by_intensity

# The image is kept unchanged up to this distance from the brain, and fades out over the next millimetres: the border of
# the brain is information, and the mask may be off by a voxel.
KEPT_MM, FADE_MM = 3.0, 4.0
# An image in which at most this fraction of the head lies farther than BEYOND_MM from the brain has no skull.
STRIPPED_FRACTION, BEYOND_MM = 0.03, 6.0


@dataclass(frozen=True)
class BrainMask:
    """The brain and the CSF around it.

    :param inside: (D, H, W), boolean.
    :param grid: of the voxels.
    """

    inside: np.ndarray
    grid: Grid

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper corner in mm from the outer face of the grid's first voxel, (3,) each."""
        where = np.argwhere(self.inside)
        return where.min(0) * self.grid.spacing, (where.max(0) + 1) * self.grid.spacing

    @cached_property
    def millilitres(self) -> float:
        """The volume."""
        return float(self.inside.sum() * np.prod(self.grid.spacing)) / 1000.0

    @cached_property
    def distance(self) -> sitk.Image:
        """The distance of each voxel from the surface of the brain in mm, negative inside."""
        mask = image_from_array(self.inside.astype(np.uint8), self.grid)
        return sitk.SignedMaurerDistanceMap(mask, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)

    def covers(self, array: np.ndarray) -> bool:
        """Return whether an image on the mask's grid shows hardly anything but the brain: its skull is removed."""
        head = head_by_intensity(array)
        beyond = sitk.GetArrayFromImage(self.distance) > BEYOND_MM
        return bool((head & beyond).sum() <= STRIPPED_FRACTION * head.sum())


def fading(distance: np.ndarray, kept: float = KEPT_MM, width: float = FADE_MM) -> np.ndarray:
    """Return the factor of the intensity at some distances from the brain in mm: 1 in and near it, 0 far from it.

    :param kept: up to this distance it is 1.
    :param width: of the border in which it falls to 0.
    """
    return np.clip(1.0 - (distance - kept) / width, 0.0, 1.0).astype(np.float32)
