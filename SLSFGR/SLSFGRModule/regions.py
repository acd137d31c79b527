"""Masks and lesions: what the user has segmented, or drawn in a label map, as images for the library."""

import slicer
import vtk
from slicer.i18n import tr as _

from .itk_conversion import imageFromArray, imageFromVolumeNode
from .library import LazyImport
from .segmentations import VOXELS

numpy_support = LazyImport("vtk.util.numpy_support")


def regionImage(node, segmentID=""):
    """Return an image that is not 0 inside a region, where Slicer shows it.

    :param node: a label map or a segmentation.
    :param segmentID: of the segment that counts; by default those that are shown count together.
    :raises ValueError: the segments are empty.
    """
    if not node.IsA("vtkMRMLSegmentationNode"):
        return imageFromVolumeNode(node)
    copy, merged = slicer.vtkMRMLSegmentationNode(), slicer.vtkOrientedImageData()
    segmentation = copy.GetSegmentation()
    segmentation.DeepCopy(node.GetSegmentation())  # the user's may be a surface, and is not changed
    for otherID in set(segmentation.GetSegmentIDs()) - set(segmentsThatCount(node, segmentID)):
        segmentation.RemoveSegment(otherID)
    segmentation.CreateRepresentation(VOXELS)
    copy.GenerateMergedLabelmapForAllSegments(merged, slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS)
    scalars = merged.GetPointData().GetScalars()
    if not scalars or not scalars.GetRange()[1]:
        raise ValueError(_("{name} is empty. Draw what counts, or select none.").format(name=node.GetName()))
    array = numpy_support.vtk_to_numpy(scalars).reshape(merged.GetDimensions()[::-1])
    ijkToLocal, toFirstVoxel = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    merged.GetImageToWorldMatrix(ijkToLocal)
    for axis, start in enumerate(merged.GetExtent()[::2]):
        toFirstVoxel.SetElement(axis, 3, start)
    vtk.vtkMatrix4x4.Multiply4x4(ijkToLocal, toFirstVoxel, ijkToLocal)
    return imageFromArray((array > 0).astype("uint8"), ijkToLocal, node.GetParentTransformNode())


def segmentsThatCount(segmentationNode, segmentID=""):
    """Return the ID of the segment that was chosen, or of those that are shown, even if the segmentation is hidden."""
    if segmentID:
        return [segmentID]
    display = segmentationNode.GetDisplayNode()
    names = segmentationNode.GetSegmentation().GetSegmentIDs()
    return [name for name in names if not display or display.GetSegmentVisibility(name)]
