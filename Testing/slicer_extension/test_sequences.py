"""A moving volume that plays a sequence: its frames are registered, and the results play with it."""

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import nodes_of_scene, press, run_to_the_end, small_head, use_worker, wait_until
from stand_ins import slicer_module

sequences = slicer_module.load("SLSFGRModule.sequences")
SHIFTS = (-5.0, -3.0, 2.0)  # of the head in each frame, mm
TIMES = ("0", "2.5", "5")


@pytest.fixture
def played(widget):
    """A fixed volume, and a moving one that plays a sequence of three frames; both are selected."""
    fixed = add_volume(small_head(), "T1")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "dynamic sequence")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for shift, time in zip(SHIFTS, TIMES, strict=True):
        frame = add_volume(small_head(shift), "dynamic")
        sequence.SetDataNodeAtValue(frame, time)
        slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    moving = browser.GetProxyNode(sequence)
    widget.ui.fixedVolumeSelector.setCurrentNode(fixed)
    widget.ui.movingVolumeSelector.setCurrentNode(moving)
    return fixed, moving, browser


def sequence_called(name):
    return slicer.mrmlScene.GetFirstNodeByName(name)


def run(widget):
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text.startswith("Register"))


def test_a_moving_volume_that_plays_a_sequence_gives_sequences_that_play_with_it(widget, played):
    fixed, moving, browser = played
    name = moving.GetName()
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    fixed.SetAndObserveTransformNodeID(parent.GetID())
    assert widget.ui.wholeSequenceCheckBox.text == "All 3 frames of the sequence"
    assert widget.ui.registerButton.text == "Register 3 volumes"
    run(widget)
    warped, transforms = (sequence_called(f"{text} sequence") for text in (
        f"{name} warped to T1", f"Transform {name} to T1"
    ))  # fmt: skip
    for sequence in (warped, transforms):
        assert [sequence.GetNthIndexValue(number) for number in range(3)] == list(TIMES)
        assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "s")
        assert sequence.GetNthDataNode(0).GetAttribute("SLSFGR.Version") == "0.1.0"
    # The worker of these tests moves each frame by 5 mm.
    frames = [slicer.util.arrayFromVolume(warped.GetNthDataNode(number)) for number in range(3)]
    assert all(frame.shape == slicer.util.arrayFromVolume(fixed).shape for frame in frames)
    assert np.abs(frames[0].astype(float) - frames[2]).mean() > 0.1
    moved = transforms.GetNthDataNode(1).GetTransformFromParent().TransformPoint((0.0, 0.0, 0.0))
    np.testing.assert_allclose(moved, (5.0, 0.0, 0.0), atol=1e-6)
    # Both play in the browser of the moving volume.
    shown = widget.logic.getParameterNode().warpedVolume
    assert browser.GetProxyNode(warped) is shown
    for number in (2, 0):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(shown), frames[number])
    lines = widget.ui.resultLabel.text.split("\n")
    assert [line.partition(": Dice")[0] for line in lines] == [f"{name}, frame {number}" for number in (1, 2, 3)]
    assert shown.GetParentTransformNode() is parent
    assert slicer.util.getNode("T1 segmentation").GetAttribute("SLSFGR.Version") == "0.1.0"
    assert "T1 segmentation_1" not in nodes_of_scene()
    assert slicer_module.slice_views()[0].GetForegroundVolumeID() == shown.GetID()


def test_the_frames_lie_where_the_volume_that_plays_them_is_shown(played):
    _, moving, _ = played
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (10.0, 20.0, 30.0)
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    before = sequences.frameImage(moving, 1).GetOrigin()
    moving.SetAndObserveTransformNodeID(parent.GetID())
    after = sequences.frameImage(moving, 1).GetOrigin()
    np.testing.assert_allclose(np.subtract(after, before), (-10.0, -20.0, 30.0), atol=1e-6)
    with pytest.raises(ValueError, match="has no frame 4"):
        sequences.frameImage(moving, 3)


def test_without_the_check_only_the_frame_that_is_shown_is_registered(widget, played):
    widget.ui.wholeSequenceCheckBox.checked = False
    assert widget.ui.registerButton.text == "Register"
    run_to_the_end(widget)
    assert len(widget.runner.jobs) == 1
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1


def test_a_node_that_plays_results_is_not_overwritten_by_another_run(widget, played):
    run(widget)
    chosen = widget.logic.getParameterNode()
    shown, content = chosen.warpedVolume, slicer.util.arrayFromVolume(chosen.warpedVolume).copy()
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume(small_head(9.0), "T2"))
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().warpedVolume is not shown
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(shown), content)


def test_of_many_frames_the_first_results_are_shown_and_all_are_in_the_log(widget, played, monkeypatch):
    monkeypatch.setattr(slicer_module.load("SLSFGRModule.widget"), "MOST_RESULTS", 2)
    name = played[1].GetName()
    run(widget)
    lines = widget.ui.resultLabel.text.split("\n")
    assert lines[1:] == [f"{name}, frame 2: {lines[0].partition(': ')[2]}", "... and 1 more: see the log."]
    assert f"{name}, frame 3: Dice" in widget.ui.logTextEdit.plainText


def test_cancel_keeps_the_frames_that_are_done(widget, played):
    _, moving, _ = played
    use_worker(widget, "endless_second")
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.progressBar.format.startswith("2 of 3: Deforming"))
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register 3 volumes")
    assert sequence_called(f"{moving.GetName()} warped to T1 sequence").GetNumberOfDataNodes() == 1
    assert widget.ui.statusLabel.text == "Cancelled."


def test_other_volumes_play_no_sequence(scene):
    volume = add_volume(small_head(), "T1")
    assert sequences.frameCount(volume) == sequences.frameCount(None) == 0
    assert not sequences.isProxy(volume)
