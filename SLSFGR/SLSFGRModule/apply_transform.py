"""Apply a transform to further nodes: volumes, segmentations, markups and models. Main thread only."""

import slicer
import vtk
from slicer.i18n import tr as _

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
    name = _("{node} warped to {fixed}").format(node=node.GetName(), fixed=referenceVolumeNode.GetName())
    copy = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), slicer.mrmlScene.GenerateUniqueName(name))
    copy.CopyContent(node)
    copy.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    if node.IsA("vtkMRMLVolumeNode"):
        background = None if node.IsA("vtkMRMLLabelMapVolumeNode") else node.GetImageData().GetScalarRange()[0]
        moved = _resample(orientedImage(node), node, transformNode, referenceVolumeNode, background)
        slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(moved, copy)
    elif node.IsA("vtkMRMLSegmentationNode"):
        _resampleSegmentation(copy, node, transformNode, referenceVolumeNode)
    else:
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        copy.HardenTransform()
        copy.ApplyTransform(inverseTransformNode.GetTransformFromParent())
    placeBeside(node, copy)
    copy.CreateDefaultDisplayNodes()
    if node.GetDisplayNode() and copy.GetDisplayNode():
        copy.GetDisplayNode().CopyContent(node.GetDisplayNode())
    return copy


def _resampleSegmentation(copy, segmentationNode, transformNode, referenceVolumeNode):
    """Resample the label map of each layer, which keeps segments that overlap."""
    segmentation = copy.GetSegmentation()
    segmentation.CreateRepresentation(VOXELS)
    segmentation.SetSourceRepresentationName(VOXELS)
    layers = range(segmentation.GetNumberOfLayers())
    for labelmap, segmentIDs in [
        (segmentation.GetLayerDataObject(layer), segmentation.GetSegmentIDsForLayer(layer)) for layer in layers
    ]:
        moved = _resample(labelmap, segmentationNode, transformNode, referenceVolumeNode, None)
        for segmentID in segmentIDs:
            segmentation.GetSegment(segmentID).AddRepresentation(VOXELS, moved)
    copy.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)


def _resample(image, node, transformNode, referenceVolumeNode, background):
    """Resample a node's image to the grid of the reference volume.

    :param background: value outside of the image, which is interpolated linearly; None for labels (nearest neighbour).
    """
    toReference, part = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    toReference.PostMultiply()
    between = slicer.vtkMRMLTransformNode.GetTransformBetweenNodes
    between(node.GetParentTransformNode(), None, toReference)
    toReference.Concatenate(transformNode.GetTransformToParent())
    between(None, referenceVolumeNode.GetParentTransformNode(), part)
    toReference.Concatenate(part)
    moved, isLinear = slicer.vtkOrientedImageData(), background is not None
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, orientedImage(referenceVolumeNode), moved, isLinear, False, toReference, background or 0.0
    )
    return moved
