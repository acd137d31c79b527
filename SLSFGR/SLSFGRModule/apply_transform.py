"""Apply a transform to further nodes: volumes, segmentations, markups and models. Main thread only."""

import slicer
import vtk
from slicer.i18n import tr as _

from .resampling import resampleInSteps
from .segmentations import VOXELS, orientedImage
from .subject_hierarchy import placeBeside


def applyTransform(node, transformNode, inverseTransformNode, referenceVolumeNode):
    """Make a copy of a node that matches the fixed volume; volumes and segmentations get the fixed volume's grid.

    :param node: matches the moving volume; it is not changed.
    :param transformNode: its transform from the parent maps fixed points to moving points.
    :param inverseTransformNode: its transform from the parent maps moving points to fixed points.
    :param referenceVolumeNode: the fixed volume.
    :returns: the copy.
    """
    *_steps, copy = applyTransformInSteps(node, transformNode, inverseTransformNode, referenceVolumeNode)
    return copy


def applyTransformInSteps(node, transformNode, inverseTransformNode, referenceVolumeNode):
    """As :func:`applyTransform`, but stop after each slab of voxels, so that Slicer stays responsive.

    The scene is changed by the last step only.

    :returns: a generator; the last step gives the copy, the others None.
    """
    if node.IsA("vtkMRMLVolumeNode"):
        background = None if node.IsA("vtkMRMLLabelMapVolumeNode") else node.GetImageData().GetScalarRange()[0]
        moved = yield from resampleInSteps(orientedImage(node), node, transformNode, referenceVolumeNode, background)
        copy = _addCopy(node, referenceVolumeNode)
        _copyDisplay(node, copy)
        copy.CopyContent(node, False)
        _setImage(copy, moved)
    elif node.IsA("vtkMRMLSegmentationNode"):
        segmentation = yield from _resampledSegmentation(node, transformNode, referenceVolumeNode)
        copy = _addCopy(node, referenceVolumeNode)
        copy.CopyContent(node, False)
        copy.SetAndObserveSegmentation(segmentation)
        copy.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)
        _copyDisplay(node, copy)
    else:
        copy = _addCopy(node, referenceVolumeNode)
        copy.CopyContent(node)
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        copy.HardenTransform()
        copy.ApplyTransform(inverseTransformNode.GetTransformFromParent())
        _copyDisplay(node, copy)
    placeBeside(node, copy)
    yield copy


def _addCopy(node, referenceVolumeNode):
    """Add a node to the scene for the copy of a node, with a name and the parent transform of the reference volume."""
    name = _("{node} warped to {fixed}").format(node=node.GetName(), fixed=referenceVolumeNode.GetName())
    copy = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), slicer.mrmlScene.GenerateUniqueName(name))
    copy.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    return copy


def _copyDisplay(node, copy):
    """Show a copy as its original is shown.

    A volume needs this before it has voxels: Slicer would look for a window, 0.6 s for 512 x 512 x 400 voxels.
    """
    copy.CreateDefaultDisplayNodes()
    if node.GetDisplayNode() and copy.GetDisplayNode():
        copy.GetDisplayNode().CopyContent(node.GetDisplayNode())
        if copy.IsA("vtkMRMLScalarVolumeNode") and not copy.IsA("vtkMRMLLabelMapVolumeNode"):
            copy.GetDisplayNode().AutoWindowLevelOff()


def _setImage(volumeNode, image):
    """Give a volume node an image and its position, without a copy of the voxels."""
    imageToWorld, voxels = vtk.vtkMatrix4x4(), vtk.vtkImageData()
    image.GetImageToWorldMatrix(imageToWorld)
    voxels.SetExtent(image.GetExtent())
    voxels.GetPointData().SetScalars(image.GetPointData().GetScalars())
    volumeNode.SetAndObserveImageData(voxels)
    volumeNode.SetIJKToRASMatrix(imageToWorld)


def _resampledSegmentation(segmentationNode, transformNode, referenceVolumeNode):
    """Resample the label map of each layer, which keeps segments that overlap; yield None after each slab."""
    segmentation = slicer.vtkSegmentation()
    segmentation.DeepCopy(segmentationNode.GetSegmentation())
    segmentation.CreateRepresentation(VOXELS)
    segmentation.SetSourceRepresentationName(VOXELS)
    layers = range(segmentation.GetNumberOfLayers())
    for labelmap, segmentIDs in [
        (segmentation.GetLayerDataObject(layer), segmentation.GetSegmentIDsForLayer(layer)) for layer in layers
    ]:
        moved = yield from resampleInSteps(labelmap, segmentationNode, transformNode, referenceVolumeNode, None)
        for segmentID in segmentIDs:
            segmentation.GetSegment(segmentID).AddRepresentation(VOXELS, moved)
    return segmentation
