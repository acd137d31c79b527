"""Further nodes through a transform: volumes, segmentations, markups and models. Main thread only."""

import slicer
import vtk
from slicer.i18n import tr as _

from .segmentations import VOXELS, orientedImage


def carry(node, transformNode, inverseTransformNode, referenceVolumeNode):
    """Make a copy of a node that fits to the fixed volume; what is voxels gets the fixed volume's grid.

    :param node: fits to the moving volume.
    :param transformNode: its transform from the parent takes fixed points to moving points.
    :param inverseTransformNode: its transform from the parent takes moving points to fixed points.
    :param referenceVolumeNode: the fixed volume.
    """
    name = _("{node} warped to {fixed}").format(node=node.GetName(), fixed=referenceVolumeNode.GetName())
    carried = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), slicer.mrmlScene.GenerateUniqueName(name))
    carried.CopyContent(node)
    carried.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())
    if node.IsA("vtkMRMLVolumeNode"):
        background = None if node.IsA("vtkMRMLLabelMapVolumeNode") else node.GetImageData().GetScalarRange()[0]
        moved = _resampled(orientedImage(node), node, transformNode, referenceVolumeNode, background)
        slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(moved, carried)
    elif node.IsA("vtkMRMLSegmentationNode"):
        _carrySegmentation(carried, node, transformNode, referenceVolumeNode)
    else:
        carried.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        carried.HardenTransform()
        carried.ApplyTransform(inverseTransformNode.GetTransformFromParent())
    carried.CreateDefaultDisplayNodes()
    if node.GetDisplayNode() and carried.GetDisplayNode():
        carried.GetDisplayNode().CopyContent(node.GetDisplayNode())
    return carried


def _carrySegmentation(carried, segmentationNode, transformNode, referenceVolumeNode):
    """Carry the label map of each layer, so that segments that overlap still do."""
    segmentation = carried.GetSegmentation()
    segmentation.CreateRepresentation(VOXELS)
    segmentation.SetSourceRepresentationName(VOXELS)
    layers = range(segmentation.GetNumberOfLayers())
    for labelmap, segmentIDs in [
        (segmentation.GetLayerDataObject(layer), segmentation.GetSegmentIDsForLayer(layer)) for layer in layers
    ]:
        moved = _resampled(labelmap, segmentationNode, transformNode, referenceVolumeNode, None)
        for segmentID in segmentIDs:
            segmentation.GetSegment(segmentID).AddRepresentation(VOXELS, moved)
    carried.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)


def _resampled(image, node, transformNode, referenceVolumeNode, background):
    """An image below a node's parents on the grid of the reference; where there is no background, it is labels."""
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
