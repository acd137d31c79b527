"""Masks and lesions, from segmentations and label maps of the scene to images of the job."""

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from nodes import add_volume
from panel import choose_volumes, press, small_head, wait_until
from PySide6.QtCore import Qt
from stand_ins import slicer_module

regions = slicer_module.load("SLSFGRModule.regions")

CENTRE_RAS, RADIUS = np.array([20.0, -15.0, 10.0]), 22.0


def add_ball(name, volume):
    """A segmentation with a ball, and a second segment that is hidden."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment, center in (("tumour", CENTRE_RAS), ("skull", -CENTRE_RAS)):
        node.AddSegmentFromClosedSurfaceRepresentation(ball(center), segment, None, segment)
    node.CreateBinaryLabelmapRepresentation()
    node.GetDisplayNode().SetSegmentVisibility("skull", False)
    return node


def ball(center):
    source = vtk.vtkSphereSource()
    source.SetCenter(*center)
    source.SetRadius(RADIUS)
    source.SetPhiResolution(40)
    source.SetThetaResolution(40)
    source.Update()
    return source.GetOutput()


def centre_and_volume(image):
    """Return the centre in RAS mm and the volume in mL of what is not 0."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(image != 0, sitk.sitkUInt8))
    return np.array(shape.GetCentroid(1)) * (-1, -1, 1), shape.GetPhysicalSize(1) / 1000.0


BALL_ML = 4.0 / 3.0 * np.pi * RADIUS**3 / 1000.0


def test_the_segments_that_are_shown_count_where_slicer_shows_them(scene):
    volume = add_volume(small_head(spacing=4.0), "T1")
    node = add_ball("lesion", volume)
    centre, ml = centre_and_volume(regions.regionImage(node))
    np.testing.assert_allclose(centre, CENTRE_RAS, atol=0.5)
    assert ml == pytest.approx(BALL_ML, rel=0.1)
    up = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "up")
    up.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4) + np.eye(4, k=3) * 16.0))
    node.SetAndObserveTransformNodeID(up.GetID())
    centre, _ = centre_and_volume(regions.regionImage(node))
    np.testing.assert_allclose(centre, CENTRE_RAS + np.array([16.0, 0.0, 0.0]), atol=0.5)


def test_a_label_map_is_used_on_its_own_grid(scene):
    other = add_volume(small_head(spacing=5.0), "other")
    label_map = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "lesion")
    label_map.SetAndObserveImageData(other.GetImageData())
    label_map.CopyOrientation(other)
    assert regions.regionImage(label_map).GetSpacing() == pytest.approx((5.0, 5.0, 5.0))


def test_masks_and_lesions_go_into_the_job_of_their_volume(widget):
    fixed, moving = choose_volumes(widget)
    widget.ui.regionsCollapsibleButton.collapsed = False
    widget.ui.fixedMaskSelector.setCurrentNode(add_ball("brain", fixed))
    widget.ui.movingLesionSelector.setCurrentNode(add_ball("lesion", moving))
    more = add_volume(small_head(3.0), "T1 2027")
    widget.ui.moreVolumesSelector.setCheckState(more, Qt.CheckState.Checked)
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text != "Cancel")
    first, second = widget.runner.jobs[:2]
    assert first.moving_mask is first.fixed_lesion is second.moving_lesion is None
    for job in (first, second):
        np.testing.assert_allclose(centre_and_volume(job.fixed_mask)[0], CENTRE_RAS, atol=1.5)
    assert centre_and_volume(first.moving_lesion)[1] == pytest.approx(BALL_ML, rel=0.2)


def test_one_segment_can_be_chosen_whether_or_not_it_is_shown(widget):
    fixed, _ = choose_volumes(widget)
    node, combo_box = add_ball("lesion", fixed), widget.ui.fixedLesionSegmentComboBox
    assert not combo_box.isVisibleTo(combo_box.parentWidget())
    widget.ui.fixedLesionSelector.setCurrentNode(node)
    assert combo_box.isVisibleTo(combo_box.parentWidget())
    assert [combo_box.itemText(index) for index in range(3)] == ["All segments that are shown", "tumour", "skull"]
    assert combo_box.currentIndex == 0
    combo_box.currentIndex = 2
    assert widget.logic.getParameterNode().fixedLesionSegment == "skull"
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text != "Cancel")
    np.testing.assert_allclose(centre_and_volume(widget.runner.jobs[-1].fixed_lesion)[0], -CENTRE_RAS, atol=1.5)
    # It stays chosen when the volumes change places, and not when it is gone.
    press(widget.ui.swapButton)
    assert widget.ui.movingLesionSegmentComboBox.currentText == "skull"
    assert widget.logic.getParameterNode().fixedLesionSegment == ""
    node.GetSegmentation().RemoveSegment("skull")
    widget.ui.movingLesionSelector.setCurrentNode(None)
    widget.ui.movingLesionSelector.setCurrentNode(node)
    assert widget.logic.getParameterNode().movingLesionSegment == ""
    combo_box = widget.ui.movingLesionSegmentComboBox
    assert not combo_box.isVisibleTo(combo_box.parentWidget())


def test_a_lesion_without_a_shown_segment_is_refused_and_cannot_be_overwritten(widget):
    fixed, _ = choose_volumes(widget)
    node = add_ball("lesion", fixed)
    widget.ui.fixedLesionSelector.setCurrentNode(node)
    assert widget.ui.registerButton.enabled
    widget.ui.fixedSegmentationSelector.setCurrentNode(node)
    assert widget.ui.statusLabel.text.startswith("lesion would be overwritten")
    widget.ui.fixedSegmentationSelector.setCurrentNode(None)
    node.GetDisplayNode().SetSegmentVisibility("tumour", False)
    for text in ("lesion shows no segment", "lesion is empty"):
        widget.ui.fixedLesionSelector.setCurrentNode(None)
        widget.ui.fixedLesionSelector.setCurrentNode(node)
        widget.ui.registerButton._object.click()
        wait_until(lambda text=text: widget.ui.statusLabel.text.startswith(text))
        node.GetSegmentation().AddEmptySegment("not drawn yet")
    assert widget.runner.jobs == []
