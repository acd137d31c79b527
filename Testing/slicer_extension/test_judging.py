"""What helps to judge a result: before and after, side by side, the deformation grid, the report."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from known_shift import register
from panel import choose_volumes, press, run_to_the_end, use_worker
from PySide6.QtGui import QDesktopServices
from rendering import render_slice
from stand_ins import slicer_module

comparison = slicer_module.load("SLSFGRModule.comparison")


def layers():
    """What the red and the yellow view show: the IDs of background and foreground."""
    views = slicer_module.slice_views()[:2]
    return [(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) for view in views]


def slice_nodes():
    return [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow")]


def matrix_of(slice_node):
    return slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())


def test_before_shows_the_moving_volume_in_place_of_the_warped_one(widget):
    fixed, moving = choose_volumes(widget)
    run_to_the_end(widget)
    warped = widget.logic.getParameterNode().warpedVolume
    widget.ui.beforeCheckBox.checked = True
    assert layers()[0] == (fixed.GetID(), moving.GetID())
    assert not widget.ui.checkerboardCheckBox.enabled  # the two volumes have no common grid
    widget.ui.beforeCheckBox.checked = False
    assert layers()[0] == (fixed.GetID(), warped.GetID())
    assert widget.ui.checkerboardCheckBox.enabled


def test_the_segments_can_be_hidden_and_stay_so(widget):
    choose_volumes(widget)
    assert not widget.ui.segmentsCheckBox.enabled
    run_to_the_end(widget)
    display = widget.logic.getParameterNode().fixedSegmentation.GetDisplayNode()
    assert widget.ui.segmentsCheckBox.checked
    assert display.GetVisibility()
    widget.ui.segmentsCheckBox.checked = False
    assert not display.GetVisibility()
    run_to_the_end(widget)
    assert not display.GetVisibility()
    assert not widget.ui.segmentsCheckBox.checked
    widget.ui.fixedSegmentationSelector.setCurrentNode(None)
    assert not widget.ui.segmentsCheckBox.enabled
    assert not display.GetVisibility()


def test_side_by_side_shows_one_slice_of_both_volumes_in_linked_views_and_then_restores_the_views(widget):
    fixed, moving = choose_volumes(widget)
    run_to_the_end(widget)
    warped, manager = widget.logic.getParameterNode().warpedVolume, slicer.app.layoutManager()
    before = manager.layout, layers(), [matrix_of(node) for node in slice_nodes()]
    assert np.abs(before[2][0] - before[2][1]).max() > 0.5  # axial and sagittal
    widget.ui.sideBySideCheckBox.checked = True
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    assert layers() == [(fixed.GetID(), None), (warped.GetID(), None)]
    left, right = slice_nodes()
    np.testing.assert_array_equal(matrix_of(left), matrix_of(right))
    assert left.GetFieldOfView() == right.GetFieldOfView()
    assert all(view.GetLinkedControl() and view.GetHotLinkedControl() for view in slicer_module.slice_views()[:2])
    assert not widget.ui.fadeSlider.enabled
    widget.ui.beforeCheckBox.checked = True
    assert layers() == [(fixed.GetID(), None), (moving.GetID(), None)]
    widget.ui.beforeCheckBox.checked = False
    widget.ui.sideBySideCheckBox.checked = False
    assert (manager.layout, layers()) == before[:2]
    for node, matrix in zip(slice_nodes(), before[2], strict=True):
        np.testing.assert_array_equal(matrix_of(node), matrix)
    assert not any(view.GetLinkedControl() for view in slicer_module.slice_views()[:2])


def test_linked_views_follow_each_other(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.sideBySideCheckBox.checked = True
    left, right = slice_nodes()
    left_logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    left_logic.StartSliceOffsetInteraction()  # as the slider of the view does
    left_logic.SetSliceOffset(left.GetSliceOffset() + 14.0)
    left_logic.EndSliceOffsetInteraction()
    assert right.GetSliceOffset() == pytest.approx(left.GetSliceOffset())


def test_leaving_the_module_leaves_no_layout_no_grid_and_no_unregistered_volume_behind(widget):
    fixed, _ = choose_volumes(widget)
    run_to_the_end(widget)
    layout = slicer.app.layoutManager().layout
    for name in ("before", "sideBySide"):
        getattr(widget.ui, f"{name}CheckBox").checked = True
    slicer_module.leave(widget)
    assert slicer.app.layoutManager().layout == layout
    assert layers()[0] == (fixed.GetID(), widget.logic.getParameterNode().warpedVolume.GetID())


def test_slicer_can_end_while_the_volumes_are_side_by_side(widget, monkeypatch):
    choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.sideBySideCheckBox.checked = True
    monkeypatch.setattr(slicer.app, "views", None)
    widget.cleanup()
    assert slicer.app.dialogs == []


def test_without_a_main_window_there_is_no_side_by_side(widget, monkeypatch):
    monkeypatch.setattr(slicer.app, "views", None)
    choose_volumes(widget)
    run_to_the_end(widget)
    assert not widget.ui.sideBySideCheckBox.enabled


def test_the_grid_of_a_deformation_is_drawn_in_the_slices_and_that_of_no_other(axial_pair):
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(slicer.mrmlScene)
    nodes = register(axial_pair, bend=4.0)
    assert comparison.canShowGrid(nodes.transformNode)
    comparison.showComparison(axial_pair[0], nodes.warpedVolumeNode, 1.0, False)
    without = picture()
    comparison.showGrid(nodes.transformNode, True)
    with_grid = picture()
    changed = (with_grid != without).any(axis=2).mean()
    assert 0.02 < changed < 0.6  # lines, with the brain between them
    display = nodes.transformNode.GetDisplayNode()
    assert not display.GetVisibility3D()
    comparison.showGrid(nodes.transformNode, False)
    np.testing.assert_array_equal(picture(), without)
    linear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    assert not comparison.canShowGrid(linear)
    assert not comparison.canShowGrid(None)


def picture():
    view = slicer_module.slice_views()[0]
    return render_slice(view, "Axial", (0.0, 0.0, 0.0), 0.0)


def test_the_grid_follows_the_selected_transform_and_ends_with_its_switch(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    assert not widget.ui.gridCheckBox.enabled  # the transform of this run is linear
    first, second = (bent_transform(name) for name in ("first", "second"))
    widget.ui.transformSelector.setCurrentNode(first)
    assert widget.ui.gridCheckBox.enabled
    widget.ui.gridCheckBox.checked = True
    assert first.GetDisplayNode().GetVisibility2D()
    widget.ui.transformSelector.setCurrentNode(second)
    assert (first.GetDisplayNode().GetVisibility2D(), second.GetDisplayNode().GetVisibility2D()) == (0, 1)
    slicer_module.leave(widget)
    assert not second.GetDisplayNode().GetVisibility2D()


def bent_transform(name):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    grid, image = slicer.vtkOrientedGridTransform(), vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_FLOAT, 3)
    grid.SetDisplacementGridData(image)
    node.SetAndObserveTransformFromParent(grid)
    return node


def test_the_report_is_opened_from_the_panel_and_stays_in_the_scene(widget, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    choose_volumes(widget)
    assert not widget.ui.reportButton.enabled
    use_worker(widget, "draws_page")
    run_to_the_end(widget)
    node = widget.logic.getParameterNode().report
    assert node.GetName() == "Report T1 2026 to T1 2024"
    assert node.CreateDefaultStorageNode() is not None  # it becomes a file of the scene's
    press(widget.ui.reportButton)
    (path,) = opened
    text = Path(path).read_text(encoding="utf-8")
    assert text == node.GetText()
    for part in ("T1 2024", "T1 2026", "both images show one head", "0.614 → 0.842", "data:image/png"):
        assert part in text
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().report is node  # updated, not added
    widget.cleanup()
    assert list(tmp_path.iterdir()) == []
