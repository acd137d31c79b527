"""Nodes of the user: none is overwritten that is not selected as an output."""

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import (
    begin,
    choose_volumes,
    nodes_of_scene,
    open_panel,
    run_to_the_end,
    small_head,
    wait_until,
)
from phantoms import affine_matrix
from PySide6.QtCore import Qt
from stand_ins import slicer_module

OUTPUTS = ("warpedVolume", "transform", "inverseTransform", "fixedSegmentation", "movingSegmentation")


def add_nodes_of_the_user():
    """One node of each class that an output can be, with something in it that must not change."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "my planning")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(affine_matrix(shift=(1.0, 2.0, 3.0))))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my tumour")
    segmentation.GetSegmentation().AddEmptySegment("tumour", "tumour")
    return add_volume(small_head(spacing=6.0), "my T2"), transform, segmentation


def assert_unchanged(volume, transform, segmentation):
    assert volume.GetName() == "my T2"
    assert volume.GetSpacing() == (6.0, 6.0, 6.0)
    assert transform.GetName() == "my planning"
    assert transform.GetTransformToParent().TransformPoint((0.0, 0.0, 0.0)) == (1.0, 2.0, 3.0)
    assert segmentation.GetName() == "my tumour"
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == ["tumour"]


def delete_in_selector(widget, name):
    getattr(widget.ui, f"{name}Selector")._object.removeCurrentNode()


def delete_by_script(widget, name):
    slicer.mrmlScene.RemoveNode(getattr(widget.logic.getParameterNode(), name))


def hide(widget, name):
    getattr(widget.logic.getParameterNode(), name).HideFromEditorsOn()


@pytest.mark.parametrize("lose", [delete_in_selector, delete_by_script, hide])
def test_an_output_that_is_lost_never_gives_way_to_a_node_of_the_user(widget, lose):
    choose_volumes(widget)
    users = add_nodes_of_the_user()
    run_to_the_end(widget)
    for name in OUTPUTS:
        lose(widget, name)
        assert getattr(widget.logic.getParameterNode(), name) is None, name
        assert getattr(widget.ui, f"{name}Selector").currentNode() is None, name
    run_to_the_end(widget)
    assert "Dice" in widget.ui.resultLabel.text
    assert_unchanged(*users)
    for name in OUTPUTS:
        assert getattr(widget.logic.getParameterNode(), name) not in users


def test_all_earlier_results_are_kept_when_every_output_is_to_be_created(widget):
    choose_volumes(widget)
    widget.ui.jacobianCheckBox.checked = True
    run_to_the_end(widget)
    earlier = selected_outputs(widget)
    names = {name: node.GetName() for name, node in earlier.items()}
    assert len(names) == len(OUTPUTS) + 2  # the table and the Jacobian have no selector
    for name in OUTPUTS:
        getattr(widget.ui, f"{name}Selector").setCurrentNode(None)
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume(small_head(4.0), "T1 2028"))
    run_to_the_end(widget)
    assert "Dice" in widget.ui.resultLabel.text
    assert {name: node.GetName() for name, node in earlier.items()} == names
    assert all(map(slicer.mrmlScene.IsNodePresent, earlier.values()))
    assert not set(earlier.values()) & set(selected_outputs(widget).values())


def selected_outputs(widget):
    chosen = widget.logic.getParameterNode()
    return {name: getattr(chosen, name) for name in (*OUTPUTS, "volumesTable", "jacobianVolume")}


def test_an_output_that_is_deleted_while_it_is_computed_is_created_again(widget):
    choose_volumes(widget)
    users = add_nodes_of_the_user()
    run_to_the_end(widget)
    begin(widget)
    delete_by_script(widget, "warpedVolume")
    delete_by_script(widget, "fixedSegmentation")
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert_unchanged(*users)
    assert {"T1 2026 warped to T1 2024", "T1 2024 segmentation"} <= nodes_of_scene()
    assert slicer.mrmlScene.IsNodePresent(widget.logic.getParameterNode().warpedVolume)


def test_an_input_that_is_deleted_leaves_its_selector_empty(widget):
    add_nodes_of_the_user()
    fixed, moving = choose_volumes(widget)
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "by hand")
    widget.ui.initialTransformSelector.setCurrentNode(start)
    for node in (start, moving, fixed):
        slicer.mrmlScene.RemoveNode(node)
    chosen = widget.logic.getParameterNode()
    assert (chosen.fixedVolume, chosen.movingVolume, chosen.initialTransform) == (None, None, None)
    assert widget.ui.registerButton.toolTip == "Select a fixed and a moving volume."


def test_a_node_that_is_needed_as_it_is_cannot_be_an_output(widget):
    _, moving = choose_volumes(widget)
    for name in ("by hand", "head rest"):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    start, parent = map(slicer.util.getNode, ("by hand", "head rest"))
    widget.ui.initialTransformSelector.setCurrentNode(start)
    moving.SetAndObserveTransformNodeID(parent.GetID())
    for needed in (start, parent):
        widget.ui.transformSelector.setCurrentNode(needed)
        assert not widget.ui.registerButton.enabled
        assert widget.ui.statusLabel.text.startswith(f"{needed.GetName()} would be overwritten.")
    widget.ui.transformSelector.setCurrentNode(None)
    assert widget.ui.registerButton.enabled


@pytest.fixture
def earlier_scene(tmp_path_factory):
    """A scene on disk whose inputs and outputs are chosen; in it, nodes have the IDs of others in the next scene."""
    widget = open_panel()
    choose_volumes(widget)
    run_to_the_end(widget)
    for name in ("fixedVolume", "movingVolume", "warpedVolume"):
        node = getattr(widget.logic.getParameterNode(), name)
        node.SetName(f"earlier {node.GetName()}")
    path = tmp_path_factory.mktemp("scene") / "scene.mrml"
    widget.cleanup()
    assert slicer.mrmlScene.Commit(str(path))
    slicer_module.new_scene()
    return path


def test_a_scene_that_is_added_while_the_panel_is_open_brings_its_choices(scene, earlier_scene):
    widget = open_panel()
    try:
        add_nodes_of_the_user()
        slicer.mrmlScene.SetURL(str(earlier_scene))
        slicer.mrmlScene.Import()
        assert widget.ui.fixedVolumeSelector.currentNode().GetName() == "earlier T1 2024"
        assert widget.ui.movingVolumeSelector.currentNode().GetName() == "earlier T1 2026"
        assert widget.ui.warpedVolumeSelector.currentNode().GetName() == "earlier T1 2026 warped to T1 2024"
    finally:
        widget.cleanup()


def test_a_scene_that_is_added_during_a_run_keeps_its_outputs(scene, earlier_scene):
    widget = open_panel()
    try:
        choose_volumes(widget)
        users = add_nodes_of_the_user()
        begin(widget)
        slicer.mrmlScene.SetURL(str(earlier_scene))
        slicer.mrmlScene.Import()
        earlier = widget.logic.getParameterNode().transform
        before = earlier.GetMTime()
        wait_until(lambda: widget.ui.registerButton.text == "Register")
        assert "Dice" in widget.ui.resultLabel.text
        assert widget.logic.getParameterNode().transform is not earlier
        assert earlier.GetMTime() == before
        assert_unchanged(*users)
    finally:
        widget.cleanup()


def test_a_volume_named_as_the_checkerboard_is_left_alone(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    own = add_volume(small_head(), "SLSFGR checkerboard")
    widget.ui.checkerboardCheckBox.checked = True
    widget.ui.checkerboardCheckBox.checked = False
    assert slicer.mrmlScene.IsNodePresent(own)


def test_apply_can_be_pressed_only_while_a_checked_node_is_there(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tips")
    widget.ui.applyNodesSelector.setCheckState(points, Qt.CheckState.Checked)
    assert widget.ui.applyButton.enabled
    slicer.mrmlScene.RemoveNode(points)
    assert not widget.ui.applyButton.enabled
