"""Volumes and transforms between ITK and Slicer: the same points in LPS and in RAS, with nothing written to disk."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .library import importLibrary

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def imageFromVolumeNode(volumeNode):
    """Copy a volume into an image that lies where Slicer shows it, its linear parent transforms included."""
    coordinates, array = importLibrary("SLSFGRLib.spatial.grid"), slicer.util.arrayFromVolume(volumeNode)
    ijkToLocal = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToLocal)
    ijkToRAS = toWorld(volumeNode.GetParentTransformNode()) @ slicer.util.arrayFromVTKMatrix(ijkToLocal)
    kjiToLPS = (RAS_FROM_LPS @ ijkToRAS)[:, [2, 1, 0, 3]]
    return coordinates.image_from_array(array, coordinates.Grid(array.shape, kjiToLPS))


def toWorld(transformNode):
    """The 4x4 matrix of a linear transform node together with its parents; of None, the identity."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transformNode, None, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def fillLike(volumeNode, array, referenceVolumeNode, shownRange, colorNodeID):
    """Give a volume node an array and the place of another volume, parent transform included.

    :param array: KJI, of the size of the other volume.
    :param shownRange, colorNodeID: the values that are shown as the darkest and the brightest, and the colors between.
    """
    slicer.util.updateVolumeFromArray(volumeNode, array)
    volumeNode.CopyOrientation(referenceVolumeNode)
    volumeNode.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNodeID)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*shownRange)


def initialTransformFromNode(transformNode):
    """What a registration starts from: an ITK transform of fixed to moving points.

    :param transformNode: linear; brings the moving volume near the fixed one when it is put under it.
    """
    fixedToMoving_LPS = RAS_FROM_LPS @ np.linalg.inv(toWorld(transformNode)) @ RAS_FROM_LPS
    return importLibrary("SLSFGRLib.spatial.grid").affine_transform(fixedToMoving_LPS)


def vtkTransformFromITK(transform):
    """Convert a transform; one that is linear stays linear, so that Slicer shows it as a matrix.

    ITK's transform takes points of the image that is resampled onto to points of the image that is
    resampled: in Slicer's words it is the transform from the parent.

    :raises TypeError: the transform is neither linear nor a displacement field nor composed of such.
    """
    parts = importLibrary("SLSFGRLib.jobs.exchange").transform_parts(transform)
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
