"""Affine transforms of points in space: the one place that turns them into voxels, ITK transforms and back.

>>> import numpy as np
>>> shift = Affine.from_parts(np.eye(3), [10.0, 0.0, 0.0])
>>> shift.then(shift.inverse()).apply(np.array([[1.0, 2.0, 3.0]]))
array([[1., 2., 3.]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .grid import Grid, moved_points

# The cube in which a transform is sampled to fit an affine transform to it: a head's size, in mm.
FIT_CUBE_MM = 160.0
FIT_SAMPLES = 9


@dataclass(frozen=True)
class Affine:
    """An affine transform of points in LPS mm, usually of fixed points to moving points.

    :param matrix: 4x4, for homogeneous points.
    """

    matrix: np.ndarray

    @classmethod
    def identity(cls) -> Affine:
        """Return the transform that moves nothing."""
        return cls(np.eye(4))

    @classmethod
    def from_parts(cls, linear: np.ndarray, translation: Sequence[float] | np.ndarray) -> Affine:
        """Return ``point -> linear point + translation``.

        :param linear: 3x3.
        :param translation: in mm.
        """
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = translation
        return cls(matrix)

    @classmethod
    def about(cls, linear: np.ndarray, centre: np.ndarray, target: np.ndarray) -> Affine:
        """Return the transform with this 3x3 linear part that takes ``centre`` to ``target``, both in mm."""
        return cls.from_parts(linear, target - linear @ centre)

    @classmethod
    def fit(cls, transform: sitk.Transform, centre: np.ndarray) -> tuple[Affine, float]:
        """Fit an affine transform to any transform in a cube of 160 mm around a point.

        :param centre: LPS mm.
        :returns: the affine transform, and the largest distance in mm between the two: 0 for a linear transform.
        """
        side = np.linspace(-FIT_CUBE_MM / 2, FIT_CUBE_MM / 2, FIT_SAMPLES)
        offsets = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
        points = np.c_[centre + offsets, np.ones(len(offsets))]
        moved = moved_points(transform, points[:, :3])
        solution = np.linalg.lstsq(points, moved, rcond=None)[0]
        affine = cls.from_parts(solution[:3].T, solution[3])
        return affine, float(np.linalg.norm(points @ solution - moved, axis=1).max())

    @property
    def linear(self) -> np.ndarray:
        """The 3x3 linear part."""
        return self.matrix[:3, :3]

    @property
    def translation(self) -> np.ndarray:
        """The translation in mm, shape (3,)."""
        return self.matrix[:3, 3]

    @property
    def determinant(self) -> float:
        """The factor by which the transform changes volumes; negative if it mirrors."""
        return float(np.linalg.det(self.linear))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Transform points, shape (..., 3), in mm."""
        return points @ self.linear.T + self.translation

    def then(self, following: Affine) -> Affine:
        """Return this transform followed by another."""
        return Affine(following.matrix @ self.matrix)

    def inverse(self) -> Affine:
        """Return the inverse transform."""
        return Affine(np.linalg.inv(self.matrix))

    def in_voxels(self, source: Grid, destination: Grid) -> np.ndarray:
        """Express the transform in array indices: a 4x4 matrix from ``source`` to ``destination``."""
        return np.linalg.inv(destination.matrix) @ self.matrix @ source.matrix

    def to_itk(self) -> sitk.AffineTransform:
        """Return the same transform as an ITK transform."""
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(self.linear.flatten().tolist())
        transform.SetTranslation(self.translation.tolist())
        return transform
