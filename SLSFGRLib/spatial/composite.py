"""Composite ITK transforms of an affine transform and a displacement field.

>>> import numpy as np, torch
>>> from SLSFGRLib.spatial.affine import Affine
>>> from SLSFGRLib.spatial.grid import Grid
>>> grid = Grid.upright((4, 4, 4), spacing=2.0)
>>> shift = Affine.from_parts(np.eye(3), [10.0, 0.0, 0.0])
>>> affine_then_field(shift, torch.zeros(1, 3, 4, 4, 4), grid).TransformPoint((1.0, 2.0, 3.0))
(11.0, 2.0, 3.0)
"""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
import torch

from .affine import Affine
from .grid import Grid, displacement_image


def affine_then_field(affine: Affine, field: torch.Tensor, grid: Grid) -> sitk.CompositeTransform:
    """Compose ``point -> affine(point + displacement(point))``.

    ITK applies the transform that was added last first: the displacement field stands at the end.

    :param field: (1, 3, D, H, W) in voxels of ``grid``.
    """
    composite = sitk.CompositeTransform([affine.to_itk()])
    composite.AddTransform(sitk.DisplacementFieldTransform(displacement_image(field, grid)))
    return composite


def inverse_of_affine_then_field(affine: Affine, inverse_field: torch.Tensor, grid: Grid) -> sitk.CompositeTransform:
    """Compose ``point -> q + inverse displacement(q)`` with ``q = affine^-1(point)``.

    :param inverse_field: (1, 3, D, H, W) in voxels of ``grid``, the inverse of the field of :func:`affine_then_field`.
    """
    composite = sitk.CompositeTransform([sitk.DisplacementFieldTransform(displacement_image(inverse_field, grid))])
    composite.AddTransform(affine.inverse().to_itk())
    return composite


def affine_volume_ratio(transform: sitk.Transform) -> float:
    """Return the factor by which the linear parts of a composite transform change volumes.

    :returns: 1 for a transform that is not composed of linear parts and others.
    """
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return 1.0
    composite = sitk.CompositeTransform(transform)
    parts = [composite.GetNthTransform(number) for number in range(composite.GetNumberOfTransforms())]
    linear = [part for part in parts if part.IsLinear()]
    if len(linear) == len(parts):
        return 1.0
    return abs(math.prod(Affine.fit(part, np.zeros(3))[0].determinant for part in linear))
