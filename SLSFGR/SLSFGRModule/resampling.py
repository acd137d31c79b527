"""Resample images to the grid of a volume with a transform, slab by slab. Main thread only."""

import slicer
import vtk

from .library import LazyImport
from .segmentations import orientedImage

numpy_support = LazyImport("vtk.util.numpy_support")
SLAB_VOXELS = 1_000_000  # a deformation takes 0.1 s for them on two cores (benchmarks/main_thread.py)


def resampleInSteps(image, node, transformNode, referenceVolumeNode, background):
    """Resample a node's image to the grid of the reference volume; stop after each slab of slices.

    :param image: vtkOrientedImageData of the node, without the node's parent transforms.
    :param transformNode: its transform to the parent moves the node to the reference volume.
    :param background: value outside of the image, which is interpolated linearly; None for labels (nearest neighbour).
    :returns: a generator of None that returns the vtkOrientedImageData.
    """
    reference, toReference = orientedImage(referenceVolumeNode), _toReference(node, transformNode, referenceVolumeNode)
    moved = _partOfGrid(reference, reference.GetExtent())
    moved.AllocateScalars(image.GetScalarType(), image.GetNumberOfScalarComponents())
    voxels = numpy_support.vtk_to_numpy(moved.GetPointData().GetScalars())
    done = 0
    for extent in _slabs(reference.GetExtent()):
        slab = _resample(image, reference, extent, toReference, background)
        values = numpy_support.vtk_to_numpy(slab.GetPointData().GetScalars())
        voxels[done : done + len(values)] = values
        done += len(values)
        yield None
    return moved


def _slabs(extent):
    """Yield the extents of slabs of whole slices."""
    *inSlice, first, last = extent
    sliceVoxels = (inSlice[1] - inSlice[0] + 1) * (inSlice[3] - inSlice[2] + 1)
    thickness = max(1, SLAB_VOXELS // sliceVoxels)
    for start in range(first, last + 1, thickness):
        yield (*inSlice, start, min(start + thickness - 1, last))


def _resample(image, reference, extent, toReference, background):
    """Resample an image to a part of the reference grid."""
    slab = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, _partOfGrid(reference, extent), slab, background is not None, False, toReference, background or 0.0
    )
    return slab


def _toReference(node, transformNode, referenceVolumeNode):
    """Return the transform from a node's own coordinates to those of the reference volume."""
    toReference, part = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    toReference.PostMultiply()
    between = slicer.vtkMRMLTransformNode.GetTransformBetweenNodes
    between(node.GetParentTransformNode(), None, toReference)
    toReference.Concatenate(transformNode.GetTransformToParent())
    between(None, referenceVolumeNode.GetParentTransformNode(), part)
    toReference.Concatenate(part)
    return toReference


def _partOfGrid(reference, extent):
    """Return an image without voxels on a part of the reference grid."""
    part, imageToWorld = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    part.SetExtent(extent)
    reference.GetImageToWorldMatrix(imageToWorld)
    part.SetGeometryFromImageToWorldMatrix(imageToWorld)
    return part
