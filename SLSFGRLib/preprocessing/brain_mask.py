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
# Distances are computed up to this: more than anything here asks for.
FARTHEST_MM = 20.0


@dataclass(frozen=True)
class BrainMask:
    """The brain and the CSF around it.

    :param inside: (D, H, W), boolean.
    :param grid: of the voxels.
    :param has_skull: whether the image that it was found in shows more than the brain.
    """

    inside: np.ndarray
    grid: Grid
    has_skull: bool = True

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
        """The distance of each voxel from the surface of the brain in mm, negative inside, at most FARTHEST_MM."""
        near = self._box_with_room()
        part = image_from_array(self.inside[near].astype(np.uint8), Grid(self.inside[near].shape, self.grid.matrix))
        signed = sitk.SignedMaurerDistanceMap(part, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
        distance = np.full(self.inside.shape, FARTHEST_MM, dtype=np.float32)
        distance[near] = np.minimum(sitk.GetArrayViewFromImage(signed), FARTHEST_MM)
        return image_from_array(distance, self.grid)

    def _box_with_room(self) -> tuple[slice, ...]:
        """Return the box of the voxels whose distance may be less than FARTHEST_MM; of no brain, the whole grid."""
        box = []
        for axis, spacing in enumerate(self.grid.spacing):
            others = tuple(other for other in range(3) if other != axis)
            filled = np.flatnonzero(self.inside.any(axis=others))
            room = int(np.ceil(FARTHEST_MM / spacing))
            box.append(slice(max(0, filled[0] - room), filled[-1] + room + 1) if len(filled) else slice(None))
        return tuple(box)

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
