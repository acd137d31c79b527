"""Nodes for tests."""

from unittest.mock import patch

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

import SLSFGRLib

VOXELS = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def add_volume(image, name):
    """A volume node where Slicer would put the image that it reads from a file."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    matrix[:3] *= LPS_TO_RAS[:, None]
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name)


def read_transform_node(path):
    """A transform node that Slicer's own code has read from a file."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def segment_center(node, name):
    """Return the centre of the voxels of a segment in the world, RAS in mm."""
    segmentation = node.GetSegmentation()
    segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
    image = segment.GetRepresentation(VOXELS)
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    array = array.reshape(image.GetDimensions()[::-1])
    to_world, parents = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, parents)
    middle = np.argwhere(array == segment.GetLabelValue()).mean(0)[::-1] + np.array(image.GetExtent()[::2])
    matrix = slicer.util.arrayFromVTKMatrix(parents) @ slicer.util.arrayFromVTKMatrix(to_world)
    return (matrix @ [*middle, 1.0])[:3]


def with_library(library, work, *arguments, **options):
    """Do some work with an object that has ``register`` and ``segment`` in place of the library's own functions."""
    functions = {name: getattr(library, name) for name in ("register", "segment") if hasattr(library, name)}
    with patch.multiple(SLSFGRLib, **functions):
        return work(*arguments, **options)
