"""The comparison of two volumes in the slice views."""

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
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


@pytest.fixture
def views(scene):
    """The nodes of the slice views, which show a place far from the volumes."""
    nodes = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow", "Green")]
    for node in nodes:
        node.JumpSliceByCentering(300.0, 300.0, 300.0)
    return nodes


def test_a_new_result_is_shown_whole_and_along_the_axes_of_the_fixed_volume(pair, views):
    fixed = pair[0]
    comparison.showComparison(*pair, 0.5, False, fit=True)
    axes = slicer.util.arrayFromVTKMatrix(directions_of(fixed))[:3, :3]
    bounds = np.zeros(6)
    fixed.GetRASBounds(bounds)
    for node in views:
        matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        assert np.abs(axes.T @ matrix[:3, 2]).max() == pytest.approx(1.0, abs=1e-6)
        center = np.linalg.inv(matrix) @ [*bounds.reshape(3, 2).mean(1), 1.0]
        np.testing.assert_allclose(center[:2], 0.0, atol=10.0)
        assert max(node.GetFieldOfView()[:2]) >= 150.0  # the volumes' shortest side is 170 mm long


def test_fading_leaves_the_views_where_the_user_put_them(axial_pair, views):
    before = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()) for node in views]
    comparison.showComparison(*axial_pair, 0.2, False)
    for node, matrix in zip(views, before, strict=True):
        np.testing.assert_array_equal(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()), matrix)


def directions_of(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(matrix)
    return matrix
