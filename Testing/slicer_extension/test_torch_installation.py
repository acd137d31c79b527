"""The panel where PyTorch is missing."""

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from panel import (
    choose_volumes,
    press,
    run_to_the_end,
)


@pytest.fixture
def without_torch(installer):
    installer.installed = False
    return installer


def test_torch_is_offered_once_and_only_when_register_is_pressed(without_torch, widget):
    choose_volumes(widget)
    assert without_torch.asked == 0
    run_to_the_end(widget)
    assert without_torch.asked == 1
    assert "Dice" in widget.ui.resultLabel.text
    run_to_the_end(widget)
    assert without_torch.asked == 1


def test_a_user_who_declines_torch_can_press_register_again(without_torch, widget):
    without_torch.agrees = False
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.ui.registerButton.text == "Register"
    assert widget.ui.registerButton.enabled
    assert widget.ui.statusLabel.text == "PyTorch is missing."


def test_without_the_pytorch_extension_nothing_is_installed(without_torch, widget):
    without_torch.extension = False
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.ui.statusLabel.text == "PyTorch is missing."
    assert without_torch.asked == 0


def test_nothing_can_be_pressed_during_the_installation_which_takes_minutes(without_torch, widget):
    def press_again():
        press(widget.ui.registerButton)
        press(widget.ui.segmentButton)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
        slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLModelNode"))
        press(widget.ui.registerButton)
        assert widget.ui.statusLabel.text == "Installing PyTorch. This takes some minutes."

    without_torch.while_installing = press_again
    choose_volumes(widget)
    run_to_the_end(widget)
    assert without_torch.asked == 1
    assert len(widget.runner.jobs) == 1
    assert "Dice" in widget.ui.resultLabel.text


def test_closing_the_scene_during_the_installation_starts_nothing(without_torch, widget):
    without_torch.while_installing = lambda: slicer.mrmlScene.Clear(0)
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.runner.jobs == []
    assert widget.ui.registerButton.toolTip == "Select a fixed and a moving volume."
