"""Transforms between ITK and Slicer: the same points in LPS and in RAS, with nothing written to disk."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from .volumes import RAS_FROM_LPS, toWorld


def reasonNotToStartFrom(transformNode, movingVolumeNode):
    """Why a registration cannot start from a transform, in one sentence for the user; empty when it can."""
    name = transformNode.GetName()
    if not transformNode.IsTransformToWorldLinear():
        return _("{name} bends space. Select a linear initial transform, or none.").format(name=name)
    if _isBelow(movingVolumeNode, transformNode):
        return _("The moving volume already is under {name}, which counts. Select no initial transform.").format(
            name=name
        )
    return ""


def _isBelow(transformableNode, transformNode):
    parent = transformableNode.GetParentTransformNode()
    while parent and parent is not transformNode:
        parent = parent.GetParentTransformNode()
    return parent is not None


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

    :raises ValueError: the transform is neither linear nor a displacement field nor composed of such.
    """
    if isinstance(transform, sitk.CompositeTransform):
        return _composite(transform)
    if transform.IsLinear():
        return _linear(transform)
    if isinstance(transform, sitk.DisplacementFieldTransform):
        return _grid(transform.GetDisplacementField())
    raise ValueError(_("A transform of type {type} cannot be shown.").format(type=transform.GetName()))


def _composite(transform):
    count = transform.GetNumberOfTransforms()
    parts = [vtkTransformFromITK(transform.GetNthTransform(index)) for index in range(count)]
    if len(parts) == 1:
        return parts[0]
    composite = vtk.vtkGeneralTransform()
    for part in parts:  # ITK and VTK alike apply first what was added last
        composite.Concatenate(part)
    return composite


def _linear(transform):
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix_LPS = np.eye(4)
    matrix_LPS[:3, 3] = origin
    for axis in range(3):
        matrix_LPS[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    linear = vtk.vtkTransform()
    linear.SetMatrix(slicer.util.vtkMatrixFromArray(RAS_FROM_LPS @ matrix_LPS @ RAS_FROM_LPS))
    return linear


def _grid(field):
    """Turn a displacement field into Slicer's oriented grid, interpolated as when it is read from a file."""
    displacements_RAS = sitk.GetArrayViewFromImage(field).reshape(-1, 3) * np.float32([-1, -1, 1])
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetSize())
    image.SetSpacing(field.GetSpacing())
    image.SetOrigin(RAS_FROM_LPS[:3, :3] @ field.GetOrigin())
    image.GetPointData().SetScalars(numpy_to_vtk(displacements_RAS.astype(np.float32), deep=True))
    direction_RAS = np.eye(4)
    direction_RAS[:3, :3] = RAS_FROM_LPS[:3, :3] @ np.reshape(field.GetDirection(), (3, 3))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(direction_RAS))
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToCubic()
    return grid
