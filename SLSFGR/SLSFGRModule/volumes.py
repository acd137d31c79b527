"""Volume nodes to SimpleITK images and back: RAS in Slicer, LPS in ITK, millimetres in both."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def reasonNotToRegister(fixedVolumeNode, movingVolumeNode):
    """Why these two cannot be registered, in one sentence for the user; empty when they can."""
    if not fixedVolumeNode or not movingVolumeNode:
        return _("Select a fixed and a moving volume.")
    if fixedVolumeNode is movingVolumeNode:
        return _("The fixed and the moving volume are the same. Select two different volumes.")
    return reasonNotUsable(fixedVolumeNode) or reasonNotUsable(movingVolumeNode)


def reasonNotUsable(volumeNode):
    """Why no image can be taken from a volume, in one sentence for the user; empty when it can."""
    name = volumeNode.GetName()
    imageData = volumeNode.GetImageData()
    if not imageData or not imageData.GetNumberOfPoints():
        return _("{name} holds no voxels. Load an image into it or select another.").format(name=name)
    if imageData.GetNumberOfScalarComponents() != 1:
        return _("{name} has several values in each voxel. Select a volume with one.").format(name=name)
    parent = volumeNode.GetParentTransformNode()
    if parent and not parent.IsTransformToWorldLinear():
        return _(
            "{name} is under the transform {transform}, which bends it. Harden it, or move {name} out of it."
        ).format(name=name, transform=parent.GetName())
    return ""


def imageFromVolumeNode(volumeNode):
    """Copy a volume into an image that lies where Slicer shows it, its linear parent transforms included."""
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(volumeNode))
    ijkToLPS = RAS_FROM_LPS @ ijkToWorld(volumeNode)
    spacing = np.linalg.norm(ijkToLPS[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(ijkToLPS[:3, 3].tolist())
    image.SetDirection((ijkToLPS[:3, :3] / spacing).flatten().tolist())
    return image


def ijkToWorld(volumeNode):
    """Where Slicer shows the voxels of a volume under linear transforms: 4x4, to RAS."""
    ijkToLocal = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToLocal)
    return toWorld(volumeNode.GetParentTransformNode()) @ slicer.util.arrayFromVTKMatrix(ijkToLocal)


def toWorld(transformNode):
    """The 4x4 matrix of a linear transform node together with its parents; of None, the identity."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transformNode, None, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def fillLike(volumeNode, array, referenceVolumeNode):
    """Give a volume node an array and the place of another volume, parent transform included.

    :param array: KJI, of the size of the other volume.
    """
    slicer.util.updateVolumeFromArray(volumeNode, array)
    volumeNode.CopyOrientation(referenceVolumeNode)
    volumeNode.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    volumeNode.CreateDefaultDisplayNodes()
