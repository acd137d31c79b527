"""Convert volumes and transforms between ITK (LPS) and Slicer (RAS), without files."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .library import importLibrary

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def imageFromVolumeNode(volumeNode):
    """Copy a volume into an image that lies where Slicer shows it, with its linear parent transforms applied."""
    coordinates, array = importLibrary("SLSFGRLib.spatial.grid"), slicer.util.arrayFromVolume(volumeNode)
    ijkToLocal = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToLocal)
    ijkToRAS = toWorld(volumeNode.GetParentTransformNode()) @ slicer.util.arrayFromVTKMatrix(ijkToLocal)
    kjiToLPS = (RAS_FROM_LPS @ ijkToRAS)[:, [2, 1, 0, 3]]
    return coordinates.image_from_array(array, coordinates.Grid(array.shape, kjiToLPS))


def toWorld(transformNode):
    """Return the 4x4 matrix of a linear transform node with its parents; the identity for None."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transformNode, None, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def fillLike(volumeNode, array, referenceVolumeNode, shownRange, colorNodeID):
    """Give a volume node an array, and the position and parent transform of another volume.

    :param array: KJI, of the size of the other volume.
    :param shownRange: the values that are shown darkest and brightest.
    :param colorNodeID: the colors between them.
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
    """Return the ITK transform that a registration starts from; it maps fixed to moving points.

    :param transformNode: linear; moves the moving volume near the fixed one when it is applied to it.
    """
    fixedToMoving_LPS = RAS_FROM_LPS @ np.linalg.inv(toWorld(transformNode)) @ RAS_FROM_LPS
    return importLibrary("SLSFGRLib.spatial.affine").Affine(fixedToMoving_LPS).to_itk()


def vtkTransformFromITK(transform):
    """Convert a transform. A linear transform stays linear, so that Slicer shows it as a matrix.

    ITK's transform maps points of the fixed image to points of the moving image: Slicer calls it the transform
    from the parent.

    :raises TypeError: the transform is neither linear nor a displacement field nor composed of such.
    """
    parts = importLibrary("SLSFGRLib.io.transforms").transform_parts(transform)
    converted = [_grid(part) if isinstance(part, sitk.Image) else _linear(part) for part in parts]
    if len(converted) == 1:
        return converted[0]
    composite = vtk.vtkGeneralTransform()
    for part in converted:  # ITK and VTK both apply the last part first
        composite.Concatenate(part)
    return composite


def _linear(matrix_LPS):
    linear = vtk.vtkTransform()
    matrix = RAS_FROM_LPS @ np.vstack([matrix_LPS, [0, 0, 0, 1]]) @ RAS_FROM_LPS
    linear.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return linear


def _grid(field):
    """Convert a displacement field to Slicer's oriented grid, with the interpolation that Slicer uses for files."""
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
