"""Further nodes through a transform: volumes, segmentations, markups and models. Main thread only."""

import slicer
import vtk
from slicer.i18n import tr as _

from .segmentations import binaryLabelmap


def carry(node, transformNode, inverseTransformNode, referenceVolumeNode):
    """Make a copy of a node that fits to the fixed volume; what is voxels gets the fixed volume's grid.

    :param node: fits to the moving volume.
    :param transformNode: its transform from the parent takes fixed points to moving points.
    :param inverseTransformNode: its transform from the parent takes moving points to fixed points.
    :param referenceVolumeNode: the fixed volume.
    """
    name = _("{node} warped to {fixed}").format(node=node.GetName(), fixed=referenceVolumeNode.GetName())
    name = slicer.mrmlScene.GenerateUniqueName(name)
    carried = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), name)
    carried.CopyContent(node)
    carried.SetName(name)
    if node.IsA("vtkMRMLVolumeNode"):
        _carryVolume(carried, node, transformNode, referenceVolumeNode)
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


def _carryVolume(carried, volumeNode, transformNode, referenceVolumeNode):
    chain = _chain(transformNode, referenceVolumeNode, volumeNode, _ijkToRAS(volumeNode))
    background = None if volumeNode.IsA("vtkMRMLLabelMapVolumeNode") else volumeNode.GetImageData().GetScalarRange()[0]
    carried.SetAndObserveImageData(_resliced(volumeNode.GetImageData(), chain, referenceVolumeNode, background))
    carried.CopyOrientation(referenceVolumeNode)
    carried.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())


def _carrySegmentation(carried, segmentationNode, transformNode, referenceVolumeNode):
    """Carry the label map of each layer, so that segments that overlap still do."""
    segmentation = carried.GetSegmentation()
    segmentation.CreateRepresentation(binaryLabelmap())
    segmentation.SetSourceRepresentationName(binaryLabelmap())
    layers = range(segmentation.GetNumberOfLayers())
    for labelmap, segmentIDs in [
        (segmentation.GetLayerDataObject(layer), segmentation.GetSegmentIDsForLayer(layer)) for layer in layers
    ]:
        toMoving = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(toMoving)
        voxels = vtk.vtkImageData()
        voxels.SetExtent(labelmap.GetExtent())
        voxels.GetPointData().SetScalars(labelmap.GetPointData().GetScalars())
        chain = _chain(transformNode, referenceVolumeNode, segmentationNode, toMoving)
        moved = slicer.vtkOrientedImageData()
        moved.ShallowCopy(_resliced(voxels, chain, referenceVolumeNode, None))
        moved.SetGeometryFromImageToWorldMatrix(_ijkToRAS(referenceVolumeNode))
        for segmentID in segmentIDs:
            segmentation.GetSegment(segmentID).AddRepresentation(binaryLabelmap(), moved)
    carried.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolumeNode)
    carried.SetAndObserveTransformNodeID(referenceVolumeNode.GetTransformNodeID())


def _ijkToRAS(volumeNode):
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrix


def _chain(transformNode, referenceVolumeNode, node, ijkToLocal):
    """The way from voxels of the reference through the transform to voxels of an image below a node's parents."""
    localToIJK = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(ijkToLocal, localToIJK)
    toWorld, toLocal, chain = (vtk.vtkGeneralTransform() for _number in range(3))
    between = slicer.vtkMRMLTransformNode.GetTransformBetweenNodes
    between(referenceVolumeNode.GetParentTransformNode(), None, toWorld)
    between(None, node.GetParentTransformNode(), toLocal)
    chain.PostMultiply()
    for part in (_ijkToRAS(referenceVolumeNode), toWorld, transformNode.GetTransformFromParent(), toLocal, localToIJK):
        chain.Concatenate(part)
    return chain


def _resliced(image, chain, referenceVolumeNode, background):
    """An image on the grid of the reference; of labels, for which the background is None, no new ones are made."""
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(chain)
    reslice.SetBackgroundLevel(background or 0)
    reslice.SetInterpolationMode(vtk.VTK_RESLICE_NEAREST if background is None else vtk.VTK_RESLICE_LINEAR)
    reslice.SetOutputSpacing(1.0, 1.0, 1.0)
    reslice.SetOutputOrigin(0.0, 0.0, 0.0)
    reslice.SetOutputExtent(referenceVolumeNode.GetImageData().GetExtent())
    reslice.Update()
    return reslice.GetOutput()
