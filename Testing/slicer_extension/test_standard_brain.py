"""The bundled standard brain as the fixed volume."""

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import choose_volumes, nodes_of_scene, open_panel, press, small_head
from stand_ins import slicer_module

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic


def test_the_standard_brain_lies_in_mni_space_and_is_added_once(scene):
    node = SLSFGRLogic().standardBrain()
    array = slicer.util.arrayFromVolume(node)
    assert (node.GetName(), array.shape, array.dtype) == ("MNI152", (189, 233, 197), np.uint8)
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    np.testing.assert_allclose(bounds, (-98.5, 98.5, -134.5, 98.5, -72.5, 116.5))
    # White matter beside the midline, and air in front of the face, by their coordinates in MNI space.
    toIJK = slicer.util.arrayFromVTKMatrix(rasToIJK(node))
    inside, outside = (tuple(np.round(toIJK @ [*point, 1])[2::-1].astype(int)) for point in ((25, -20, 30), (0, 90, 0)))
    assert array[inside] > 200
    assert array[outside] == 0
    node.SetName("atlas")
    assert SLSFGRLogic().standardBrain() is node


def rasToIJK(node):  # noqa: N802
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    return matrix


def test_the_button_selects_the_standard_brain_as_the_fixed_volume(widget):
    _, moving = choose_volumes(widget)
    press(widget.ui.standardBrainButton)
    chosen = widget.logic.getParameterNode()
    assert (chosen.fixedVolume.GetName(), chosen.movingVolume) == ("MNI152", moving)
    press(widget.ui.standardBrainButton)
    assert nodes_of_scene() == {"MNI152", "T1 2024", "T1 2026"}
    assert widget.ui.registerButton.enabled


def test_the_only_volume_is_registered_to_the_standard_brain(scene, installer):
    volume = add_volume(small_head(), "T1 2024")
    widget = open_panel(installer)
    assert widget.logic.getParameterNode().fixedVolume is volume
    for _press in range(2):
        press(widget.ui.standardBrainButton)
        chosen = widget.logic.getParameterNode()
        assert (chosen.fixedVolume.GetName(), chosen.movingVolume) == ("MNI152", volume)
    widget.ui.movingVolumeSelector.setCurrentNode(None)
    press(widget.ui.standardBrainButton)
    assert widget.logic.getParameterNode().fixedVolume.GetName() == "MNI152"
    widget.cleanup()
