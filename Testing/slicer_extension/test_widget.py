"""The panel: its .ui file, the choices of the user, a run, and the result."""

import re
import time
import typing
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import (
    RecordingRunner,
    SLSFGRWidget,
    begin,
    choose_half_heads,
    choose_volumes,
    nodes_of_scene,
    open_panel,
    press,
    reopen,
    run_to_the_end,
    small_head,
    use_worker,
    wait_until,
)
from PySide6.QtCore import Qt
from stand_ins import slicer_module

from SLSFGRLib.io.label_table import read_label_table

UI = ElementTree.parse(Path(__file__).resolve().parents[2] / "SLSFGR/Resources/UI/SLSFGR.ui").getroot()


def test_every_bound_parameter_is_in_the_parameter_node_and_bound_once():
    bound = [
        element.findtext("string") for element in UI.iter("property") if element.get("name") == "SlicerParameterName"
    ]
    assert len(bound) == len(set(bound))
    kinds = slicer_module.load("SLSFGRModule.parameter_node").SLSFGRParameterNode.allParameters
    assert set(bound) <= set(kinds)
    segments = {f"{volume}{region}Segment" for volume in ("fixed", "moving") for region in ("Mask", "Lesion")}
    assert set(kinds) - set(bound) == {"volumesTable", "jacobianVolume", "report", "model"} | segments


def test_the_model_chooser_offers_models_remembers_them_and_leaves_its_binding_to_the_code():
    (chooser,) = (element for element in UI.iter("widget") if element.get("class") == "ctkPathLineEdit")
    values = {found.get("name"): "".join(found.itertext()).strip() for found in chooser.findall("property")}
    assert values["nameFilters"] == "Trained models (*.pt)"
    assert values["settingKey"] == "SLSFGRModel"
    # Slicer would bind it to a pathlib.Path, which shows an empty one as ".".
    assert "SlicerParameterName" not in values


def test_every_selector_lists_the_class_of_its_parameter():
    kinds = slicer_module.load("SLSFGRModule.parameter_node").SLSFGRParameterNode.allParameters
    for element in UI.iter("widget"):
        if element.get("class") == "qMRMLNodeComboBox":
            values = {found.get("name"): found for found in element.findall("property")}
            kind = kinds[values["SlicerParameterName"].findtext("string")]
            classes = typing.get_args(kind) or (kind,)
            assert [item.text for item in values["nodeTypes"][0]] == [listed.__name__ for listed in classes]


def test_every_label_belongs_to_the_control_beside_it():
    names = {element.get("name") for element in UI.iter("widget")}
    buddies = [found.findtext("cstring") for found in UI.iter("property") if found.get("name") == "buddy"]
    assert len(buddies) >= 12
    assert set(buddies) <= names


def test_register_says_what_is_missing_until_it_can_be_pressed(widget):
    button = widget.ui.registerButton
    assert (button.enabled, button.toolTip) == (False, "Select a fixed and a moving volume.")
    fixed, _ = choose_volumes(widget)
    assert button.enabled
    assert not widget.ui.statusLabel.visible
    widget.ui.movingVolumeSelector.setCurrentNode(fixed)
    assert not button.enabled
    assert "the same" in button.toolTip
    assert widget.ui.statusLabel.text == button.toolTip


def test_outputs_that_would_destroy_an_input_or_each_other_are_refused(widget):
    fixed, _ = choose_volumes(widget)
    widget.ui.warpedVolumeSelector.setCurrentNode(fixed)
    assert widget.ui.statusLabel.text.startswith("T1 2024 would be overwritten.")
    widget.ui.warpedVolumeSelector.setCurrentNode(None)
    widget.ui.transformSelector._object.addNode()
    widget.ui.inverseTransformSelector.setCurrentNode(widget.ui.transformSelector.currentNode())
    assert "Transform would be overwritten" in widget.ui.registerButton.toolTip
    assert not widget.ui.registerButton.enabled


def test_an_initial_transform_must_be_linear_and_not_count_twice(widget):
    _, moving = choose_volumes(widget)
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "by hand")
    widget.ui.initialTransformSelector.setCurrentNode(start)
    assert widget.ui.registerButton.enabled
    moving.SetAndObserveTransformNodeID(start.GetID())
    reopen(widget)
    assert "already under by hand" in widget.ui.registerButton.toolTip
    moving.SetAndObserveTransformNodeID(None)
    start.SetAndObserveTransformFromParent(slicer.vtkOrientedBSplineTransform())
    reopen(widget)
    assert "by hand is not linear" in widget.ui.registerButton.toolTip


def test_choices_are_kept_in_the_scene_and_come_back(widget, tmp_path):
    choose_volumes(widget)
    widget.ui.modeComboBox.currentIndex = 2
    widget.ui.deviceComboBox.currentIndex = 2
    widget.ui.jacobianCheckBox.checked = True
    widget.exit()
    assert slicer.mrmlScene.Commit(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Import()
    widget.enter()
    assert widget.ui.fixedVolumeSelector.currentNode().GetName() == "T1 2024"
    assert widget.ui.modeComboBox.currentText == "Accurate"
    assert widget.ui.deviceComboBox.currentText == "Processor (CPU)"
    assert widget.ui.jacobianCheckBox.checked


def test_without_the_network_the_panel_says_that_nothing_is_segmented(widget, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.io.resources.can_segment", lambda: False)
    choose_volumes(widget)
    assert not widget.ui.segmentButton.enabled
    assert "can only register" in widget.ui.segmentButton.toolTip
    assert widget.ui.registerButton.enabled
    monkeypatch.setattr("SLSFGRLib.io.resources.can_segment", lambda: True)
    reopen(widget)
    assert widget.ui.segmentButton.enabled


@pytest.mark.slow
def test_register_with_the_library_aligns_the_volumes(widget):
    _, moving = choose_half_heads(widget)
    use_worker(widget, "registers_only")
    widget.ui.modeComboBox.currentIndex = 0
    seen = set()
    press(widget.ui.registerButton)
    while widget.ui.registerButton.text != "Register":
        slicer.app.processEvents()
        time.sleep(0.01)
        seen.add(widget.ui.progressBar.format.partition("  ")[0])
    assert {"Preparing the images", "Aligning the heads"} <= seen
    chosen = widget.logic.getParameterNode()
    moved = np.array(chosen.transform.GetTransformFromParent().TransformPoint((10.0, 0.0, 5.0)))
    np.testing.assert_allclose(moved, (5.0, 0.0, 5.0), atol=2.0)
    assert chosen.warpedVolume.GetName() == "T1 2026 warped to T1 2024"
    assert "folding 0 %" in widget.ui.resultLabel.text
    assert moving.GetParentTransformNode() is None


def test_what_the_report_notes_is_shown_once_under_the_figures(widget):
    choose_volumes(widget)
    use_worker(widget, "noted")
    run_to_the_end(widget)
    assert widget.ui.resultLabel.text.split("\n")[1:] == ["The heads hardly overlap."]


@pytest.mark.slow
def test_with_a_network_that_segments_the_library_gives_segmentations_and_dice(widget):
    fixed, moving = choose_half_heads(widget)
    use_worker(widget, "small_network")
    widget.ui.modeComboBox.currentIndex = 0
    run_to_the_end(widget)
    chosen = widget.logic.getParameterNode()
    figures, reason = widget.ui.resultLabel.text.split("\n")[:2]  # doubts follow: the network is untrained
    assert re.fullmatch(r"Dice 0\.\d\d → 0\.\d\d · folding 0 % · [\d.]+ s · CPU", figures)
    # The phantom is symmetric: it is no more like itself than like its mirror image.
    assert reason.startswith("Deformable: the images show two people")
    names = [structure.name for structure in read_label_table()]
    for volume, node in ((fixed, chosen.fixedSegmentation), (moving, chosen.movingSegmentation)):
        assert node.GetName() == f"{volume.GetName()} segmentation"
        assert node.GetAttribute("SLSFGR.Model") == "small (segmentation)"
        assert 0.0 < float(node.GetAttribute("SLSFGR.DiceAfter")) <= 1.0
        segments = node.GetSegmentation()
        assert segments.GetNumberOfSegments() > 1
        for index in range(segments.GetNumberOfSegments()):
            assert segments.GetNthSegment(index).GetName() in names
    columns = chosen.volumesTable.GetTable()
    assert [columns.GetColumnName(index) for index in range(3)] == ["Structure", "T1 2024 (mL)", "T1 2026 (mL)"]
    run_to_the_end(widget, widget.ui.segmentButton)
    assert re.fullmatch(r"\d+ structures · [\d.]+ s · CPU", widget.ui.resultLabel.text)
    assert chosen.fixedSegmentation.GetAttribute("SLSFGR.Model") == "small (segmentation)"
    assert chosen.fixedSegmentation.GetAttribute("SLSFGR.Mode") == "none"


def test_register_shows_progress_then_the_result_over_the_fixed_volume(widget):
    fixed, _ = choose_volumes(widget)
    begin(widget)
    assert widget.ui.progressBar.visible
    assert widget.ui.progressBar.value == 42
    assert widget.ui.registerButton.text == "Cancel"
    assert not widget.ui.inputsCollapsibleButton.enabled
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert not widget.ui.progressBar.visible
    assert widget.ui.resultLabel.text == "Dice 0.61 → 0.84 · folding 0 % · 14.2 s · CPU"
    assert widget.ui.resultLabel.toolTip == "cpu (2 threads)"
    label = widget.ui.resultLabel._object
    assert label.fontMetrics().horizontalAdvance(label.text()) < label.width()
    assert "a warning of some library" in widget.ui.logTextEdit.plainText
    warped = widget.logic.getParameterNode().warpedVolume
    for view in slicer_module.slice_views():
        assert view.GetBackgroundVolumeID() == fixed.GetID()
        assert view.GetForegroundVolumeID() == warped.GetID()
        assert view.GetForegroundOpacity() == 0.5


def test_slider_fades_and_switch_shows_a_checkerboard_that_is_not_saved(widget):
    fixed, _ = choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.fadeSlider.value = 80
    red = slicer_module.slice_views()[0]
    assert red.GetForegroundOpacity() == pytest.approx(0.8)
    widget.ui.checkerboardCheckBox.checked = True
    board = slicer.mrmlScene.GetNodeByID(red.GetForegroundVolumeID())
    assert board.GetName() == "SLSFGR checkerboard"
    assert not board.GetSaveWithScene()
    assert red.GetForegroundOpacity() == 1.0
    assert red.GetBackgroundVolumeID() == fixed.GetID()  # what the views of a saved scene still show
    widget.ui.checkerboardCheckBox.checked = False
    assert red.GetForegroundOpacity() == pytest.approx(0.8)
    assert slicer.mrmlScene.GetFirstNodeByName("SLSFGR checkerboard") is None


def test_second_run_updates_the_nodes_of_the_first(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    first, warped = nodes_of_scene(), widget.logic.getParameterNode().warpedVolume
    slicer.util.arrayFromVolume(warped)[:] = 0
    run_to_the_end(widget)
    assert nodes_of_scene() == first
    assert slicer.util.arrayFromVolume(widget.logic.getParameterNode().warpedVolume).max() > 100
    assert widget.logic.getParameterNode().warpedVolume is warped


def test_after_another_choice_of_inputs_the_outputs_are_called_by_it(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    warped, count = widget.logic.getParameterNode().warpedVolume, len(nodes_of_scene())
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume(small_head(4.0), "T1 2028"))
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().warpedVolume is warped
    assert warped.GetName() == "T1 2028 warped to T1 2024"
    assert len(nodes_of_scene()) == count + 1
    assert [name for name in nodes_of_scene() if "2026" in name] == ["T1 2026"]


def test_jacobian_is_made_on_request_only(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().jacobianVolume is None
    widget.ui.jacobianCheckBox.checked = True
    run_to_the_end(widget)
    assert "Jacobian determinant T1 2024 to T1 2026" in nodes_of_scene()


def test_segment_only_segments_what_is_selected(widget):
    fixed = add_volume(small_head(), "T1")
    widget.ui.fixedVolumeSelector.setCurrentNode(fixed)
    run_to_the_end(widget, widget.ui.segmentButton)
    assert nodes_of_scene() == {"T1", "T1 segmentation", "T1 structure volumes"}
    assert widget.ui.resultLabel.text == "3 structures · 14.2 s · CPU"
    assert widget.ui.fixedSegmentationSelector.currentNode().GetName() == "T1 segmentation"


def test_apply_transforms_the_checked_nodes(widget):
    choose_volumes(widget)
    assert "Register first" in widget.ui.applyButton.toolTip
    run_to_the_end(widget)
    assert "Check the nodes" in widget.ui.applyButton.toolTip
    widget.ui.applyCollapsibleButton.collapsed = False
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tips")
    points.AddControlPoint((10.0, 20.0, 30.0))
    widget.ui.applyNodesSelector.setCheckState(points, Qt.CheckState.Checked)
    run_to_the_end(widget, widget.ui.applyButton)
    copy = slicer.util.getNode("tips warped to T1 2024")
    # The transform takes fixed points 5 mm to the left, to the moving ones: RAS +5 on the first axis.
    np.testing.assert_allclose(copy.GetNthControlPointPosition(0), (5.0, 20.0, 30.0), atol=1e-6)
    np.testing.assert_allclose(points.GetNthControlPointPosition(0), (10.0, 20.0, 30.0))
    widget.ui.directionComboBox.currentIndex = 1
    run_to_the_end(widget, widget.ui.applyButton)
    np.testing.assert_allclose(
        slicer.util.getNode("tips warped to T1 2026").GetNthControlPointPosition(0), (15.0, 20.0, 30.0), atol=1e-6
    )
    assert widget.ui.resultLabel.text == "Created: tips warped to T1 2026"


@pytest.fixture
def applied(widget, monkeypatch):
    """The panel after a registration, while the transform is applied to three volumes; and these volumes."""
    monkeypatch.setattr(slicer_module.load("SLSFGRModule.resampling"), "SLAB_VOXELS", 1)
    choose_volumes(widget)
    run_to_the_end(widget)
    volumes = [add_volume(small_head(shift), f"T2 {shift}") for shift in (1.0, 2.0, 3.0)]
    widget.ui.applyCollapsibleButton.collapsed = False
    for node in volumes:
        widget.ui.applyNodesSelector.setCheckState(node, Qt.CheckState.Checked)
    press(widget.ui.applyButton)
    wait_until(lambda: "T2 1.0 warped to T1 2024" in nodes_of_scene())
    assert widget.ui.progressBar.format == "Applying the transform  %p %"
    assert widget.ui.progressBar.value == 33
    assert "T2 2.0 warped to T1 2024" not in nodes_of_scene()
    return widget, volumes


def made_with(widget):
    """Wait for the end; return what was made of the three volumes."""
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    return sorted(name for name in nodes_of_scene() if name.startswith("T2") and "warped" in name)


def test_applying_can_be_cancelled_and_keeps_what_was_made(applied):
    widget, _volumes = applied
    press(widget.ui.registerButton)
    assert made_with(widget) == ["T2 1.0 warped to T1 2024"]
    assert widget.ui.statusLabel.text == "Cancelled."
    assert widget.ui.resultLabel.text == "Created: T2 1.0 warped to T1 2024"
    assert widget.ui.applyButton.enabled


def test_a_node_that_is_deleted_while_the_transform_is_applied_is_left_out(applied):
    widget, volumes = applied
    slicer.mrmlScene.RemoveNode(volumes[1])
    assert made_with(widget) == ["T2 1.0 warped to T1 2024", "T2 3.0 warped to T1 2024"]
    assert widget.ui.resultLabel.text.count("Created") == 2


def test_applying_ends_when_the_fixed_volume_is_deleted(applied):
    widget, _volumes = applied
    slicer.mrmlScene.RemoveNode(widget.logic.getParameterNode().fixedVolume)
    assert widget.ui.statusLabel.text == "The run was cancelled: its volume was removed from the scene."
    assert made_with(widget) == ["T2 1.0 warped to T1 2024"]


def test_a_transform_that_cannot_be_applied_is_said_and_the_others_are_done(applied, monkeypatch):
    widget, _volumes = applied

    def refuse(node, *direction):
        monkeypatch.undo()
        raise MemoryError("no room")
        yield

    monkeypatch.setattr(slicer_module.load("SLSFGRModule.apply_run"), "applyTransformInSteps", refuse)
    made = made_with(widget)
    assert made[0] == "T2 1.0 warped to T1 2024"
    assert len(made) == 2
    (dialog,) = slicer.app.dialogs
    assert "The transform could not be applied." in dialog
    assert "no room" in dialog
    slicer.app.dialogs.clear()


def test_the_checkerboard_goes_when_the_module_is_left(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.checkerboardCheckBox.checked = True
    slicer_module.leave(widget)
    assert slicer.mrmlScene.GetFirstNodeByName("SLSFGR checkerboard") is None
    warped = widget.logic.getParameterNode().warpedVolume
    assert [view.GetForegroundVolumeID() for view in slicer_module.slice_views()] == 3 * [warped.GetID()]


def test_the_checkerboard_goes_when_its_volume_has_gone(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.checkerboardCheckBox.checked = True
    slicer.mrmlScene.RemoveNode(widget.logic.getParameterNode().warpedVolume)
    slicer_module.leave(widget)
    assert slicer.mrmlScene.GetFirstNodeByName("SLSFGR checkerboard") is None


def test_after_register_the_views_show_the_fixed_volume_wherever_it_lies(widget):
    fixed, _ = choose_volumes(widget)
    fixed.SetOrigin([coordinate + 200.0 for coordinate in fixed.GetOrigin()])
    run_to_the_end(widget)
    bounds = np.zeros(6)
    fixed.GetRASBounds(bounds)
    for name in slicer.app.layoutManager().sliceViewNames():
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        np.testing.assert_allclose(matrix[:3, 3], bounds.reshape(3, 2).mean(1), atol=20.0)


def test_apply_offers_what_it_can_transform_and_refuses_a_volume_without_voxels(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    for kind in ("DiffusionTensor", "DiffusionWeighted", "Vector", "Streaming"):
        slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}VolumeNode", kind)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing yet")
    offered = widget.ui.applyNodesSelector._object.listed()
    assert empty in offered
    assert not [node for node in offered if node.IsA("vtkMRMLTensorVolumeNode")]
    assert not [node for node in offered if node.IsA("vtkMRMLDiffusionWeightedVolumeNode")]
    widget.ui.applyNodesSelector.setCheckState(empty, Qt.CheckState.Checked)
    assert widget.ui.applyButton.toolTip == "nothing yet has no voxels. Uncheck it."


def test_opening_the_module_starts_one_process(scene, installer, tmp_path):
    first = open_panel(installer)
    choose_volumes(first)
    first.cleanup()
    widget = SLSFGRWidget(runner=RecordingRunner("finish"), installer=installer)
    widget.setup()
    (folder,) = tmp_path.glob("SLSFGR-*")
    slicer_module.enter(widget)
    assert list(tmp_path.glob("SLSFGR-*")) == [folder]
    widget.cleanup()


def test_the_first_two_volumes_that_can_be_used_are_selected_when_the_module_is_opened(scene, installer):
    photo = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing yet")
    volumes = [add_volume(small_head(), name) for name in ("T1", "T2", "FLAIR")]
    widget = open_panel(installer)
    chosen = widget.logic.getParameterNode()
    assert [chosen.fixedVolume, chosen.movingVolume] == volumes[:2]
    assert photo not in widget.ui.fixedVolumeSelector._object.listed()
    widget.ui.movingVolumeSelector.setCurrentNode(None)
    reopen(widget)
    assert widget.ui.movingVolumeSelector.currentNode() is None  # what the user selects stays
    widget.cleanup()


def test_a_result_is_never_selected_by_itself(widget):
    volumes = choose_volumes(widget)
    run_to_the_end(widget)
    for name in ("fixedVolumeSelector", "movingVolumeSelector"):
        getattr(widget.ui, name).setCurrentNode(None)
    slicer.mrmlScene.RemoveNode(volumes[0])
    reopen(widget)
    assert widget.ui.fixedVolumeSelector.currentNode() is volumes[1]
    assert widget.ui.movingVolumeSelector.currentNode() is None


def test_volumes_that_cannot_be_selected_are_named_while_a_volume_is_missing(widget):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "regions")
    assert "not regions" in widget.ui.statusLabel.text
    choose_volumes(widget)
    assert not widget.ui.statusLabel.visible


def test_swap_exchanges_the_volumes_and_what_belongs_to_them(widget):
    fixed, moving = choose_volumes(widget)
    run_to_the_end(widget)
    chosen = widget.logic.getParameterNode()
    there, back, warped = chosen.transform, chosen.inverseTransform, chosen.warpedVolume
    segmentation = chosen.fixedSegmentation
    press(widget.ui.swapButton)
    chosen = widget.logic.getParameterNode()
    assert [chosen.fixedVolume, chosen.movingVolume] == [moving, fixed]
    assert [chosen.transform, chosen.inverseTransform, chosen.movingSegmentation] == [back, there, segmentation]
    run_to_the_end(widget)
    assert there.GetName() == "Transform T1 2026 to T1 2024"
    assert warped.GetName() == "T1 2026 warped to T1 2024"
    assert widget.logic.getParameterNode().warpedVolume.GetName() == "T1 2024 warped to T1 2026"


def test_a_transform_opened_from_the_data_tree_selects_its_volumes(widget):
    fixed, moving = choose_volumes(widget)
    run_to_the_end(widget)
    chosen = widget.logic.getParameterNode()
    there, back = chosen.transform, chosen.inverseTransform
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "by hand")
    assert widget.nodeEditable(other) == widget.nodeEditable(fixed) == 0.0
    assert not widget.setEditedNode(other)
    assert widget.nodeEditable(there) > 0.5
    assert widget.setEditedNode(there)
    assert widget.ui.warpedVolumeSelector.currentNode() is not None
    assert widget.setEditedNode(back, "", "")
    chosen = widget.logic.getParameterNode()
    assert [chosen.fixedVolume, chosen.movingVolume, chosen.transform] == [moving, fixed, back]
    assert [chosen.warpedVolume, chosen.inverseTransform] == [None, None]


def check_more(widget, *nodes):
    for node in nodes:
        widget.ui.moreVolumesSelector.setCheckState(node, Qt.CheckState.Checked)


def test_several_volumes_are_registered_one_after_the_other(widget):
    fixed, _ = choose_volumes(widget)
    check_more(widget, *[add_volume(small_head(shift), f"T1 {year}") for year, shift in ((2027, 3.0), (2028, 4.0))])
    assert widget.ui.registerButton.text == "Register 3 volumes"
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.progressBar.format.startswith("2 of 3: Deforming"))
    wait_until(lambda: widget.ui.registerButton.text != "Cancel")
    lines = widget.ui.resultLabel.text.split("\n")
    assert [line.partition(": Dice")[0] for line in lines] == ["T1 2026", "T1 2027", "T1 2028"]
    assert {f"T1 {year} warped to T1 2024" for year in (2026, 2027, 2028)} <= nodes_of_scene()
    assert "T1 2024 segmentation_1" not in nodes_of_scene()
    assert widget.logic.getParameterNode().warpedVolume.GetName() == "T1 2026 warped to T1 2024"
    check_more(widget, fixed)
    assert "T1 2024 is the fixed volume" in widget.ui.statusLabel.text


def test_all_volumes_are_moved_by_the_transform_of_the_first(widget):
    fixed, _ = choose_volumes(widget)
    assert not widget.ui.allByFirstCheckBox.enabled
    others = [add_volume(small_head(shift), name) for name, shift in (("T2 2026", 2.0), ("FLAIR 2026", 5.0))]
    check_more(widget, *others)
    assert widget.ui.registerButton.text == "Register 3 volumes"
    widget.ui.allByFirstCheckBox.checked = True
    assert widget.ui.registerButton.text == "Register"
    run_to_the_end(widget)
    lines = widget.ui.resultLabel.text.split("\n")
    assert lines[0].startswith("Dice 0.61")
    assert lines[-2:] == [f"{node.GetName()}: moved by the same transform" for node in others]
    chosen = widget.logic.getParameterNode()
    copy = slicer_module.load("SLSFGRModule.apply_transform").applyTransform(
        others[0], chosen.transform, chosen.inverseTransform, fixed
    )
    moved = slicer.util.getNode("T2 2026 warped to T1 2024")
    assert np.array_equal(slicer.util.arrayFromVolume(moved), slicer.util.arrayFromVolume(copy))
    assert "Transform T2 2026 to T1 2024" not in nodes_of_scene()
    # A volume that is deleted meanwhile is left out.
    press(widget.ui.registerButton)
    slicer.mrmlScene.RemoveNode(others[0])
    wait_until(lambda: widget.ui.registerButton.text != "Cancel")
    lines = widget.ui.resultLabel.text.split("\n")
    assert [line.partition(": moved by")[0] for line in lines if "moved by" in line] == ["FLAIR 2026"]


def test_each_of_several_volumes_has_one_line_and_its_reason_in_the_log(widget):
    choose_volumes(widget)
    check_more(widget, add_volume(small_head(3.0), "T1 2027"))
    use_worker(widget, "rigid")
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register 2 volumes")
    lines = widget.ui.resultLabel.text.split("\n")
    assert [line.partition(" · ")[0] for line in lines] == ["T1 2026: Rigid", "T1 2027: Rigid"]
    assert all("Dice 0.61 → 0.84" in line for line in lines)
    assert widget.ui.logTextEdit.plainText.count("both images show one head.") == 2


def test_the_transform_of_each_of_several_volumes_opens_its_own_results(widget):
    fixed, moving = choose_volumes(widget)
    more = add_volume(small_head(3.0), "T1 2027")
    check_more(widget, more)
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register 2 volumes")
    chosen = widget.logic.getParameterNode()
    first, segmentation = chosen.transform, chosen.fixedSegmentation
    assert widget.setEditedNode(slicer.util.getNode("Transform T1 2027 to T1 2024"))
    chosen = widget.logic.getParameterNode()
    assert (chosen.fixedVolume, chosen.movingVolume, chosen.fixedSegmentation) == (fixed, more, segmentation)
    for name in ("warpedVolume", "movingSegmentation", "inverseTransform", "report"):
        assert "T1 2027" in getattr(chosen, name).GetName(), name
    assert slicer_module.slice_views()[0].GetForegroundVolumeID() == chosen.warpedVolume.GetID()
    widget.setEditedNode(first)
    assert widget.logic.getParameterNode().movingVolume is moving
    # A later run with another transform takes the volume over: the earlier transform does not open it any more.
    widget.ui.moreVolumesSelector.setCheckState(more, Qt.CheckState.Unchecked)
    widget.ui.transformSelector.setCurrentNode(None)
    warped = widget.logic.getParameterNode().warpedVolume
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().warpedVolume is warped
    widget.setEditedNode(first)
    assert widget.logic.getParameterNode().warpedVolume is None


def test_cancel_ends_all_of_several_registrations_and_keeps_what_is_done(widget):
    choose_volumes(widget)
    check_more(widget, add_volume(small_head(3.0), "T1 2027"))
    use_worker(widget, "endless_second")
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.progressBar.format.startswith("2 of 2: Deforming"))
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register 2 volumes")
    assert widget.ui.statusLabel.text == "Cancelled."
    assert widget.ui.resultLabel.text.startswith("T1 2026: Dice")
    assert "T1 2026 warped to T1 2024" in nodes_of_scene()
    assert "T1 2027 warped to T1 2024" not in nodes_of_scene()


def test_a_volume_that_cannot_be_registered_does_not_stop_the_others(widget):
    choose_volumes(widget)
    use_worker(widget, "refuse_first")
    widget.ui.fixedSegmentationSelector._object.addNode()
    check_more(widget, add_volume(small_head(3.0), "T1 2027"))
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register 2 volumes")
    assert widget.ui.statusLabel.text.startswith("T1 2026: The moving image: every voxel")
    assert widget.ui.resultLabel.text.startswith("T1 2027: Dice")
    segmentation = widget.ui.fixedSegmentationSelector.currentNode()  # is filled by the one that could
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 3


@pytest.mark.parametrize(("index", "kind"), list(enumerate(("auto", "rigid", "affine", "deformable"))))
def test_the_kind_of_transform_is_passed_on_and_kept_in_the_scene(widget, index, kind):
    choose_volumes(widget)
    labels = [widget.ui.transformTypeComboBox.itemText(number) for number in range(4)]
    assert labels == ["Automatic", "Rigid", "Affine", "Deformable"]
    widget.ui.transformTypeComboBox.currentIndex = index
    reopen(widget)
    assert widget.ui.transformTypeComboBox.currentText == labels[index]
    run_to_the_end(widget)
    assert widget.runner.jobs[0].transform == kind


def test_the_choice_that_the_library_made_is_shown_with_its_reason(widget):
    choose_volumes(widget)
    use_worker(widget, "rigid")
    run_to_the_end(widget)
    assert widget.ui.resultLabel.text.split("\n")[1:] == ["Rigid: both images show one head."]
    transform = widget.logic.getParameterNode().transform
    assert transform.IsLinear()
    assert transform.GetAttribute("SLSFGR.Transform") == "rigid"


def test_segments_hide_nothing_of_one_head_until_they_are_wanted(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    assert widget.ui.segmentsCheckBox.checked  # of two heads
    use_worker(widget, "rigid")
    run_to_the_end(widget)
    display = widget.logic.getParameterNode().fixedSegmentation.GetDisplayNode()
    assert not display.GetVisibility()
    assert widget.ui.segmentsCheckBox.enabled
    assert not widget.ui.segmentsCheckBox.checked
    widget.ui.segmentsCheckBox.checked = True
    assert display.GetVisibility()
