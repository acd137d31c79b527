"""Convert volumes and transforms between ITK (LPS) and Slicer (RAS), without files."""

import slicer
import vtk

from .library import LazyImport, importLibrary

np, sitk, numpy_support = map(LazyImport, ("numpy", "SimpleITK", "vtk.util.numpy_support"))
RAS_FROM_LPS = (-1.0, -1.0, 1.0, 1.0)  # the diagonal of a matrix that is its own inverse


def imageFromVolumeNode(volumeNode):
    """Copy a volume into an image that lies where Slicer shows it, with its linear parent transforms applied."""
    ijkToLocal = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToLocal)
    return imageFromArray(slicer.util.arrayFromVolume(volumeNode), ijkToLocal, volumeNode.GetParentTransformNode())


def imageFromArray(array, ijkToLocal, parentTransformNode):
    """Copy an array into an image.

    :param array: KJI.
    :param ijkToLocal: vtkMatrix4x4, from voxels to RAS in mm under the parent transform.
    :param parentTransformNode: linear, or None.
    """
    coordinates = importLibrary("SLSFGRLib.spatial.grid")
    ijkToRAS = toWorld(parentTransformNode) @ slicer.util.arrayFromVTKMatrix(ijkToLocal)
    kjiToLPS = (np.diag(RAS_FROM_LPS) @ ijkToRAS)[:, [2, 1, 0, 3]]
    return coordinates.image_from_array(array, coordinates.Grid(array.shape, kjiToLPS))


def arrayOf(image):
    """Return the voxels of an ITK image, KJI; the array is a view."""
    return sitk.GetArrayViewFromImage(image)


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
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    display.AutoWindowLevelOff()  # first: Slicer would look for a window of the new voxels
    fillVoxels(volumeNode, array, referenceVolumeNode)
    volumeNode.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    display.SetAndObserveColorNodeID(colorNodeID)
    display.SetWindowLevelMinMax(*shownRange)


def fillVoxels(volumeNode, array, referenceVolumeNode):
    """Give a volume node an array, KJI, and the position of another volume of the same size."""
    # Slicer refuses 64-bit integers on Windows.
    isLong = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    slicer.util.updateVolumeFromArray(volumeNode, array.astype(np.float64) if isLong else array)
    volumeNode.CopyOrientation(referenceVolumeNode)


def initialTransformFromNode(transformNode):
    """Return the ITK transform that a registration starts from; it maps fixed to moving points.

    :param transformNode: linear; moves the moving volume near the fixed one when it is applied to it.
    """
    fixedToMoving_RAS = np.linalg.inv(toWorld(transformNode))
    return importLibrary("SLSFGRLib.spatial.affine").Affine(_inOtherAxes(fixedToMoving_RAS)).to_itk()


def vtkTransformFromITK(transform):
    """Convert a transform. A linear transform stays linear, so that Slicer shows it as a matrix.

    ITK's transform maps points of the fixed image to points of the moving image: Slicer calls it the transform
    from the parent.

    :param transform: also the list of its parts, as :func:`SLSFGRLib.io.transforms.transform_parts` gives it.
    :raises TypeError: the transform is neither linear nor a displacement field nor composed of such.
    """
    isInParts = isinstance(transform, list)
    parts = transform if isInParts else importLibrary("SLSFGRLib.io.transforms").transform_parts(transform)
    converted = [_grid(part) if isinstance(part, sitk.Image) else _linear(part) for part in parts]
    if len(converted) == 1:
        return converted[0]
    composite = vtk.vtkGeneralTransform()
    for part in converted:  # ITK and VTK both apply the last part first
        composite.Concatenate(part)
    return composite


def _linear(matrix_LPS):
    linear = vtk.vtkTransform()
    linear.SetMatrix(slicer.util.vtkMatrixFromArray(_inOtherAxes(np.vstack([matrix_LPS, [0, 0, 0, 1]]))))
    return linear


def _inOtherAxes(matrix):
    """Convert a 4x4 matrix between points in RAS to one between points in LPS, or back."""
    return np.diag(RAS_FROM_LPS) @ matrix @ np.diag(RAS_FROM_LPS)


def _grid(field):
    """Convert a displacement field to Slicer's oriented grid, with the interpolation that Slicer uses for files."""
    displacements_LPS = sitk.GetArrayViewFromImage(field).reshape(-1)
    scalars = vtk.vtkFloatArray()
    scalars.SetNumberOfComponents(3)
    scalars.SetNumberOfTuples(displacements_LPS.size // 3)
    displacements_RAS = numpy_support.vtk_to_numpy(scalars).reshape(-1)
    np.negative(displacements_LPS, out=displacements_RAS)  # much faster than a product with each row
    displacements_RAS[2::3] = displacements_LPS[2::3]
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetSize())
    image.SetSpacing(field.GetSpacing())
    image.SetOrigin(np.diag(RAS_FROM_LPS[:3]) @ field.GetOrigin())
    image.GetPointData().SetScalars(scalars)
    direction_RAS = np.eye(4)
    direction_RAS[:3, :3] = np.diag(RAS_FROM_LPS[:3]) @ np.reshape(field.GetDirection(), (3, 3))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(direction_RAS))
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToCubic()
    return grid
