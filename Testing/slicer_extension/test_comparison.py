"""The comparison of two volumes in the slice views."""

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from known_shift import SPACING
from stand_ins import slicer_module

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic
comparison = slicer_module.load("SLSFGRModule.comparison")


def test_checkerboard_shows_either_volume_with_its_own_window_and_level(axial_pair):
    fixed = axial_pair[0]
    for node, level in zip(axial_pair, (100.0, 50.0), strict=True):
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevel(2 * level, level)
    slicer.util.arrayFromVolume(fixed)[:] = 100.0
    slicer.util.arrayFromVolume(axial_pair[1])[:] = 0.0
    board = slicer.util.arrayFromVolume(comparison.makeCheckerboard(*axial_pair))
    assert set(np.unique(board)) == {0, 127}
    side = [round(20.0 / spacing) for spacing in SPACING[::-1]]
    assert (board[: side[0], : side[1], : side[2]] == 127).all()
    assert (board[side[0] : 2 * side[0], : side[1], : side[2]] == 0).all()
    assert (board[side[0] : 2 * side[0], side[1] : 2 * side[1], : side[2]] == 127).all()
