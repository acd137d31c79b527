"""Further nodes through a transform: volumes, segmentations, markups and models. Main thread only."""

import slicer
import vtk
from slicer.i18n import tr as _

from .segmentations import binaryLabelmap

NODE_TYPES = (
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLLabelMapVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLModelNode",
)


def carry(node, transformNode, inverseTransformNode, referenceVolumeNode):
    """Make a copy of a node that fits to the fixed volume; what is voxels gets the fixed volume's grid.

    :param node: fits to the moving volume.
    :param transformNode: its transform from the parent takes fixed points to moving points.
    :param inverseTransformNode: its transform from the parent takes moving points to fixed points.
    :param referenceVolumeNode: the fixed volume.
    """
    name = _("{node} warped to {fixed}").format(node=node.GetName(), fixed=referenceVolumeNode.GetName())
    carried = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), slicer.mrmlScene.GenerateUniqueName(name))
    given = carried.GetName()
    carried.CopyContent(node)
    carried.SetName(given)
    if node.IsA("vtkMRMLVolumeNode"):
        _carryVolume(carried, node, transformNode, referenceVolumeNode)
    elif node.IsA("vtkMRMLSegmentationNode"):
        _carrySegmentation(carried, node, transformNode, referenceVolumeNode)
    else:
        carried.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        carried.HardenTransform()
        carried.ApplyTransform(inverseTransformNode.GetTransformFromParent())
    _copyDisplay(node, carried)
    return carried


def _carryVolume(carried, volumeNode, transformNode, referenceVolumeNode):
    ijkToRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRAS)
    isLabelmap = volumeNode.IsA("vtkMRMLLabelMapVolumeNode")
    chain = _chain(transformNode, referenceVolumeNode, volumeNode, ijkToRAS)
    background = 0 if isLabelmap else volumeNode.GetImageData().GetScalarRange()[0]
    image = _resliced(volumeNode.GetImageData(), chain, referenceVolumeNode, isLabelmap, background)
    carried.SetAndObserveImageData(image)
    carried.CopyOrientation(referenceVolumeNode)
    carried.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())


def _carrySegmentation(carried, segmentationNode, transformNode, referenceVolumeNode):
    """Carry the label map of each layer, so that segments that overlap still do."""
    segmentation = carried.GetSegmentation()
    segmentation.CreateRepresentation(binaryLabelmap())
    segmentation.SetSourceRepresentationName(binaryLabelmap())
    ijkToRAS = vtk.vtkMatrix4x4()
    referenceVolumeNode.GetIJKToRASMatrix(ijkToRAS)
    layers = segmentation.GetNumberOfLayers()
    segmentIDs = [segmentation.GetSegmentIDsForLayer(layer) for layer in range(layers)]
    labelmaps = [segmentation.GetLayerDataObject(layer) for layer in range(layers)]
    for labelmap, ids in zip(labelmaps, segmentIDs, strict=True):
        moved = slicer.vtkOrientedImageData()
        toMoving = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(toMoving)
        chain = _chain(transformNode, referenceVolumeNode, segmentationNode, toMoving)
        moved.ShallowCopy(_resliced(_withoutPlace(labelmap), chain, referenceVolumeNode, True, 0))
        moved.SetGeometryFromImageToWorldMatrix(ijkToRAS)
        for segmentID in ids:
            segmentation.GetSegment(segmentID).AddRepresentation(binaryLabelmap(), moved)
    carried.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)
    carried.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())


def _withoutPlace(labelmap):
    """Return the voxels of an oriented image, their extent kept."""
    image = vtk.vtkImageData()
    image.SetExtent(labelmap.GetExtent())
    image.GetPointData().SetScalars(labelmap.GetPointData().GetScalars())
    return image


def _chain(transformNode, referenceVolumeNode, node, ijkToLocal):
    """The way from voxels of the reference through the transform to voxels of an image below a node's parents."""
    ijkToReference, localToIJK = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    referenceVolumeNode.GetIJKToRASMatrix(ijkToReference)
    vtk.vtkMatrix4x4.Invert(ijkToLocal, localToIJK)
    toWorld, toLocal = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    between = slicer.vtkMRMLTransformNode.GetTransformBetweenNodes
    between(referenceVolumeNode.GetParentTransformNode(), None, toWorld)
    between(None, node.GetParentTransformNode(), toLocal)
    chain = vtk.vtkGeneralTransform()
    chain.PostMultiply()
    for part in (ijkToReference, toWorld, transformNode.GetTransformFromParent(), toLocal, localToIJK):
        chain.Concatenate(part)
    return chain


def _resliced(image, chain, referenceVolumeNode, isLabelmap, background):
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(chain)
    reslice.SetBackgroundLevel(background)
    if isLabelmap:
        reslice.SetInterpolationModeToNearestNeighbor()
    else:
        reslice.SetInterpolationModeToLinear()
    reslice.SetOutputSpacing(1.0, 1.0, 1.0)
    reslice.SetOutputOrigin(0.0, 0.0, 0.0)
    reslice.SetOutputExtent(referenceVolumeNode.GetImageData().GetExtent())
    reslice.Update()
    return reslice.GetOutput()


def _copyDisplay(node, toNode):
    toNode.CreateDefaultDisplayNodes()
    if node.GetDisplayNode() and toNode.GetDisplayNode():
        toNode.GetDisplayNode().CopyContent(node.GetDisplayNode())
