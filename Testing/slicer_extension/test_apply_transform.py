"""The transform applied to further nodes."""

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from known_shift import SHIFT_LPS, bent_shift, image_of, register
from nodes import LPS_TO_RAS, add_volume, segment_center
from panel_workers import labelled
from stand_ins import slicer_module

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic
apply_transform = slicer_module.load("SLSFGRModule.apply_transform")
resampling = slicer_module.load("SLSFGRModule.resampling")


def apply(node, nodes, fixed):
    return apply_transform.applyTransform(node, nodes.transformNode, nodes.inverseTransformNode, fixed)


def test_a_transformed_volume_has_the_values_of_simpleitk(pair):
    fixed, moving = pair
    nodes = register(pair, bend=3.0)
    copy = apply(moving, nodes, fixed)
    got = slicer.util.arrayFromVolume(copy).astype(float)
    known = slicer.util.arrayFromVolume(nodes.warpedVolumeNode)
    inner = (slice(4, -4),) * 3
    # ITK interpolates the field linearly, Slicer by cubics.
    np.testing.assert_allclose(got[inner], known[inner], atol=2.0)
    np.testing.assert_allclose(image_of(copy).GetOrigin(), image_of(fixed).GetOrigin(), atol=1e-6)


def test_a_transformed_volume_is_shown_with_the_window_of_its_original(axial_pair):
    fixed, moving = axial_pair
    moving.CreateDefaultDisplayNodes()
    moving.GetDisplayNode().AutoWindowLevelOff()
    moving.GetDisplayNode().SetWindowLevelMinMax(12.0, 345.0)
    copy = apply(moving, register(axial_pair), fixed)
    display = copy.GetDisplayNode()
    assert display is not moving.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (12.0, 345.0)


def test_a_transformed_label_map_keeps_its_values(axial_pair):
    fixed, moving = axial_pair
    labels = labelled(image_of(moving))
    node = add_volume(labels, "labels")
    label_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "regions")
    label_node.SetAndObserveImageData(node.GetImageData())
    label_node.CopyOrientation(node)
    copy = apply(label_node, register(axial_pair), fixed)
    assert copy.IsA("vtkMRMLLabelMapVolumeNode")
    expected = sitk.Resample(labels, image_of(fixed), bent_shift(1.0, image_of(fixed), 0.0), sitk.sitkNearestNeighbor)
    got = slicer.util.arrayFromVolume(copy)
    assert set(np.unique(got)) <= {0, 2, 17, 53}
    assert (got == sitk.GetArrayFromImage(expected)).mean() > 0.99


def test_a_transformed_segmentation_keeps_its_segments_and_lies_on_the_fixed_one(pair):
    fixed, _ = pair
    nodes = register(pair)
    copy = apply(nodes.movingSegmentationNode, nodes, fixed)
    segmentation = copy.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetSegment("Right hippocampus").GetTerminology().count("Right") == 1
    got = slicer.util.arrayFromSegmentBinaryLabelmap(copy, "Right hippocampus", fixed) > 0
    known = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.fixedSegmentationNode, "Right hippocampus", fixed) > 0
    assert 2 * (got & known).sum() / (got.sum() + known.sum()) > 0.95
    # What it was made from stays where it was.
    np.testing.assert_allclose(
        segment_center(nodes.movingSegmentationNode, "Right hippocampus")
        - segment_center(nodes.fixedSegmentationNode, "Right hippocampus"),
        SHIFT_LPS * LPS_TO_RAS,
        atol=1e-6,
    )


@pytest.mark.parametrize("what", ["movingVolume", "movingSegmentation"])
def test_steps_of_any_size_give_the_same_voxels_and_the_last_adds_the_node(pair, monkeypatch, what):
    fixed, moving = pair
    nodes = register(pair, bend=3.0)
    node = moving if what == "movingVolume" else nodes.movingSegmentationNode
    whole = apply(node, nodes, fixed)
    columns, rows, slices = fixed.GetImageData().GetDimensions()
    monkeypatch.setattr(resampling, "SLAB_VOXELS", 3 * rows * columns)
    before = slicer.mrmlScene.GetNumberOfNodes()
    direction = nodes.transformNode, nodes.inverseTransformNode, fixed
    steps = apply_transform.applyTransformInSteps(node, *direction)
    for _ in range(-(-slices // 3)):
        assert next(steps) is None
        assert slicer.mrmlScene.GetNumberOfNodes() == before
    copy = next(steps)
    assert list(steps) == []
    assert copy.GetName() != whole.GetName()
    if what == "movingVolume":
        assert np.array_equal(slicer.util.arrayFromVolume(copy), slicer.util.arrayFromVolume(whole))
        return
    for name in ("Left hippocampus", "Right hippocampus"):
        got, known = (slicer.util.arrayFromSegmentBinaryLabelmap(each, name, fixed) for each in (copy, whole))
        assert np.array_equal(got, known)
        assert got.any()


def test_transformed_models_and_markups_go_the_opposite_way_and_out_of_their_parents(axial_pair):
    fixed = axial_pair[0]
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "up")
    up = np.eye(4)
    up[2, 3] = 50.0
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(up))
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(10.0, 20.0, -30.0)
    sphere.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "lesion")
    model.SetAndObservePolyData(sphere.GetOutput())
    model.SetAndObserveTransformNodeID(parent.GetID())
    copy = apply(model, register(axial_pair), fixed)
    center = np.array(copy.GetPolyData().GetCenter())
    np.testing.assert_allclose(center, np.array([10.0, 20.0, 20.0]) - SHIFT_LPS * LPS_TO_RAS, atol=1e-3)
    assert copy.GetParentTransformNode() is None
    np.testing.assert_allclose(model.GetPolyData().GetCenter(), (10.0, 20.0, -30.0), atol=1e-3)


@pytest.mark.parametrize("node_class", ["vtkMRMLSegmentationNode", "vtkMRMLMarkupsFiducialNode"])
def test_a_copy_is_beside_its_original_in_the_subject_hierarchy(axial_pair, node_class):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "2026")
    node = slicer.mrmlScene.AddNewNodeByClass(node_class, "drawn")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    copy = apply(node, register(axial_pair), axial_pair[0])
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(copy)) == study
