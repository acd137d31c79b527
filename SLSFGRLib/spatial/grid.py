"""Conversion between voxels and millimetres: grids, matrices and displacement fields.

Inside the library a field is in voxels of its own grid, channel i moves array axis i, and warping pulls back:
``warped(x) = moving(x + u(x))``. On disk and in SimpleITK everything is in LPS millimetres. Only the functions here
convert one to the other.

Array axes are SimpleITK's array axes, (k, j, i): the first array axis is the last image index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from .arrays import array_from_tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Grid:
    """The positions of the voxels of an array in space.

    :param shape: number of voxels along each array axis.
    :param matrix: 4x4, maps homogeneous array indices to LPS millimetres.
    """

    shape: tuple[int, int, int]
    matrix: np.ndarray

    @classmethod
    def upright(cls, shape: Sequence[int], spacing: float, centre: Sequence[float] | None = None) -> Grid:
        """Return a grid whose array axes run towards superior, posterior and left, as in a canonical image.

        :param centre: LPS position of the grid's centre in mm; without it, the first voxel is at zero.
        """
        matrix = np.zeros((4, 4))
        matrix[[2, 1, 0], [0, 1, 2]] = spacing
        matrix[3, 3] = 1.0
        grid = cls(tuple(int(size) for size in shape), matrix)
        if centre is not None:
            matrix[:3, 3] = np.asarray(centre) - grid.centre
        return grid

    @property
    def spacing(self) -> np.ndarray:
        """Distance between neighbouring voxels along each array axis, in mm, shape (3,)."""
        return np.linalg.norm(self.matrix[:3, :3], axis=0)

    @property
    def mean_spacing(self) -> float:
        """Mean distance between neighbouring voxels in mm."""
        return float(self.spacing.mean())

    @property
    def centre(self) -> np.ndarray:
        """The LPS position of the middle of the grid, in mm, shape (3,)."""
        middle = (np.asarray(self.shape, dtype=float) - 1.0) / 2.0
        return self.matrix[:3, :3] @ middle + self.matrix[:3, 3]

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """Return the grid of a block that begins at array index ``start``, which may be outside this grid."""
        matrix = self.matrix.copy()
        matrix[:3, 3] += matrix[:3, :3] @ np.asarray(start, dtype=float)
        return Grid(tuple(int(size) for size in shape), matrix)

    def coarsened(self, factor: int) -> Grid:
        """Return the grid of the whole blocks of ``factor`` voxels along each axis."""
        to_old = np.diag([factor, factor, factor, 1.0])
        to_old[:3, 3] = (factor - 1) / 2.0
        return Grid(tuple(size // factor for size in self.shape), self.matrix @ to_old)

    def resized(self, shape: Sequence[int]) -> Grid:
        """Return the grid that covers the same box of space with another number of voxels.

        Voxels are boxes, not points: the outer faces are kept (``align_corners=False``).
        """
        ratio = np.asarray(self.shape, dtype=float) / np.asarray(shape, dtype=float)
        to_old = np.eye(4)
        to_old[:3, :3] = np.diag(ratio)
        to_old[:3, 3] = (ratio - 1.0) / 2.0
        return Grid(tuple(int(size) for size in shape), self.matrix @ to_old)


def grid_of_image(image: sitk.Image) -> Grid:
    """Return the grid of a three-dimensional image."""
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    columns = direction * np.asarray(image.GetSpacing())
    matrix = np.eye(4)
    matrix[:3, :3] = columns[:, ::-1]
    matrix[:3, 3] = image.GetOrigin()
    return Grid(image.GetSize()[::-1], matrix)


def image_from_array(array: np.ndarray, grid: Grid, is_vector: bool = False) -> sitk.Image:
    """Return an image with the values of an array and the position of a grid.

    :param array: ``grid.shape``, or ``grid.shape + (components,)`` when ``is_vector``.
    """
    image = sitk.GetImageFromArray(array, isVector=is_vector)
    origin, spacing, direction = _header(grid)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def _header(grid: Grid) -> tuple[list[float], list[float], list[float]]:
    """Return origin, spacing and direction of an ITK image on this grid."""
    columns = grid.matrix[:3, :3][:, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    return grid.matrix[:3, 3].tolist(), spacing.tolist(), (columns / spacing).flatten().tolist()


def canonical_image(image: sitk.Image) -> sitk.Image:
    """Permute and flip the axes so that they run as closely as possible towards left, posterior, superior.

    Nothing is interpolated. The resulting array does not depend on how the axes were stored.
    """
    array, grid = canonical_array(image)
    return image_from_array(np.ascontiguousarray(array), grid)


def canonical_array(image: sitk.Image) -> tuple[np.ndarray, Grid]:
    """Return a view of an image with its array axes towards superior, posterior and left, and its grid.

    A view of a SimpleITK image does not keep the image alive.
    """
    grid = grid_of_image(image)
    order = nearest_axes(grid.matrix[:3, :3] / grid.spacing)[::-1]
    array = sitk.GetArrayViewFromImage(image).transpose(order)
    matrix = grid.matrix[:, [*order, 3]]
    for axis, space_axis in enumerate((2, 1, 0)):
        if matrix[space_axis, axis] < 0:
            array = np.flip(array, axis)
            matrix[:, 3] += matrix[:, axis] * (array.shape[axis] - 1)
            matrix[:, axis] *= -1
    return array, Grid(array.shape, matrix)


def nearest_axes(direction: np.ndarray) -> list[int]:
    """Return the image axis nearest to each axis of space, each image axis once.

    :param direction: 3x3 direction cosines, one column for each image axis.
    """
    closeness = np.abs(direction)
    order = [-1, -1, -1]
    for _ in range(3):
        space_axis, image_axis = np.unravel_index(int(np.argmax(closeness)), (3, 3))
        order[space_axis] = int(image_axis)
        closeness[space_axis, :] = -1.0
        closeness[:, image_axis] = -1.0
    return order


def displacement_image(field: torch.Tensor, grid: Grid) -> sitk.Image:
    """Convert a field to an ITK displacement field.

    :param field: (1, 3, D, H, W) in voxels of ``grid``.
    :returns: a vector image of doubles, LPS mm, on ``grid``.
    """
    voxels = array_from_tensor(field[0].double())
    millimetres = np.einsum("rc,cdhw->dhwr", grid.matrix[:3, :3], voxels)
    return image_from_array(millimetres, grid, is_vector=True)


def mapped_points(transform: sitk.Transform, grid: Grid) -> np.ndarray:
    """Map each voxel of a grid by a transform of any type.

    :returns: LPS points in mm, shape ``grid.shape + (3,)``.
    """
    size = [int(count) for count in grid.shape[::-1]]
    displacement = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, size, *_header(grid))
    return sitk.GetArrayFromImage(displacement) + voxel_positions(grid)


def moved_points(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """Move (N, 3) points by a transform of any type, LPS mm."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()], float).reshape(-1, 3)


def voxel_positions(grid: Grid) -> np.ndarray:
    """Return the LPS positions of all voxels in mm, shape ``grid.shape + (3,)``."""
    indices = np.ogrid[tuple(map(slice, grid.shape))]
    points = np.empty((*grid.shape, 3))
    # One coordinate after the other: a product of all indices with the matrix takes several times as long.
    for row, coordinate in zip(grid.matrix, np.moveaxis(points, -1, 0), strict=False):
        coordinate[...] = sum((step * index for step, index in zip(row, indices, strict=False)), row[3])
    return points
