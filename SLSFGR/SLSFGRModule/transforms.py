"""Transforms between ITK and Slicer: the same points in LPS and in RAS, with nothing written to disk."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from .engine import importLibrary
from .volumes import RAS_FROM_LPS, toWorld


def reasonNotToStartFrom(transformNode, movingVolumeNode):
    """Why a registration cannot start from a transform, in one sentence for the user; empty when it can."""
    name = transformNode.GetName()
    if not transformNode.IsTransformToWorldLinear():
        return _("{name} bends space. Select a linear initial transform, or none.").format(name=name)
    parent = movingVolumeNode.GetParentTransformNode()
    while parent and parent is not transformNode:
        parent = parent.GetParentTransformNode()
    if parent:
        return _("The moving volume already is under {name}. Select no initial transform.").format(name=name)
    return ""


def initialTransformFromNode(transformNode):
    """What a registration starts from: an ITK transform of fixed to moving points.

    :param transformNode: linear; brings the moving volume near the fixed one when it is put under it.
    """
    fixedToMoving_LPS = RAS_FROM_LPS @ np.linalg.inv(toWorld(transformNode)) @ RAS_FROM_LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(fixedToMoving_LPS[:3, :3].flatten().tolist())
    transform.SetTranslation(fixedToMoving_LPS[:3, 3].tolist())
    return transform


def vtkTransformFromITK(transform):
    """Convert a transform; one that is linear stays linear, so that Slicer shows it as a matrix.

    ITK's transform takes points of the image that is resampled onto to points of the image that is
    resampled: in Slicer's words it is the transform from the parent.

    :raises TypeError: the transform is neither linear nor a displacement field nor composed of such.
    """
    parts = importLibrary("SLSFGRLib.exchange").transform_parts(transform)
    converted = [_grid(part) if isinstance(part, sitk.Image) else _linear(part) for part in parts]
    if len(converted) == 1:
        return converted[0]
    composite = vtk.vtkGeneralTransform()
    for part in converted:  # ITK and VTK alike apply first what was added last
        composite.Concatenate(part)
    return composite


def _linear(matrix_LPS):
    linear = vtk.vtkTransform()
    matrix = RAS_FROM_LPS @ np.vstack([matrix_LPS, [0, 0, 0, 1]]) @ RAS_FROM_LPS
    linear.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return linear


def _grid(field):
    """Turn a displacement field into Slicer's oriented grid, interpolated as when it is read from a file."""
    displacements_RAS = sitk.GetArrayViewFromImage(field).reshape(-1, 3) * np.float32([-1, -1, 1])
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetSize())
    image.SetSpacing(field.GetSpacing())
    image.SetOrigin(RAS_FROM_LPS[:3, :3] @ field.GetOrigin())
    image.GetPointData().SetScalars(numpy_to_vtk(displacements_RAS, deep=True))
    direction_RAS = np.eye(4)
    direction_RAS[:3, :3] = RAS_FROM_LPS[:3, :3] @ np.reshape(field.GetDirection(), (3, 3))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(direction_RAS))
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToCubic()
    return grid
