"""The result of a registration, and how a transform that was found becomes one."""

from __future__ import annotations

from dataclasses import dataclass, field

import SimpleITK as sitk
import torch

from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.composite import affine_then_field, inverse_of_affine_then_field
from ..spatial.fields import invert
from ..spatial.grid import Grid
from ..spatial.resampling import resample_image


@dataclass
class RegistrationResult:
    """The result of a registration.

    :param warped: the moving image on the fixed image's grid, in the moving image's pixel type.
    :param transform: points of the fixed image to points of the moving image, LPS mm; resamples the moving image onto
        the fixed one.
        It is linear if a rigid or affine transform was wanted.
    :param inverse_transform: points of the moving image to points of the fixed image.
    :param fixed_labels: label map on the fixed grid; None if there is no segmentation and no given label map.
    :param moving_labels: label map on the moving grid, or None.
    :param report: as in ``report.json``.
    """

    warped: sitk.Image
    transform: sitk.Transform
    inverse_transform: sitk.Transform
    fixed_labels: sitk.Image | None = None
    moving_labels: sitk.Image | None = None
    report: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """A transform of fixed points to moving points: a displacement field followed by an affine transform.

    :param field: (1, 3, d, h, w) in voxels of ``grid``.
    :param inverse: the inverse field, likewise.
    :param residual: error of the inverse at each voxel, (1, d, h, w), in voxels.
    :param grid: over the box of the fixed brain.
    """

    affine: Affine
    field: torch.Tensor
    inverse: torch.Tensor
    residual: torch.Tensor
    grid: Grid

    @classmethod
    def from_field(cls, fixed: Subject, affine: Affine, displacement: torch.Tensor) -> Solution:
        """Invert a field over the box of the fixed brain.

        :param displacement: (1, 3, d, h, w) in its voxels.
        """
        grid = fixed.grid.resized(displacement.shape[2:])
        return cls(affine, displacement, *invert(displacement), grid)


def publish(fixed: Subject, moving: Subject, solution: Solution) -> RegistrationResult:
    """Turn a solution into SimpleITK objects in the images' own space."""
    transform = affine_then_field(solution.affine, solution.field, solution.grid)
    inverse = inverse_of_affine_then_field(solution.affine, solution.inverse, solution.grid)
    return RegistrationResult(resample_image(moving.image, fixed.image, transform), transform, inverse)


def publish_linear(fixed: Subject, moving: Subject, affine: Affine) -> RegistrationResult:
    """Turn a rigid or affine transform of fixed points to moving points into SimpleITK objects."""
    transform = affine.to_itk()
    return RegistrationResult(
        resample_image(moving.image, fixed.image, transform), transform, affine.inverse().to_itk()
    )
