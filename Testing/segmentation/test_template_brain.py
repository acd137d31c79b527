"""The check of a brain that was found against that of the bundled template."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import AFFINE

from SLSFGRLib.models.template_file import bundled_template_file
from SLSFGRLib.preprocessing import BrainMask
from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.segmentation.template_brain import FARTHEST_MM, near_template
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import Grid, voxel_positions

NECK_MM = 45.0


@pytest.fixture(scope="module")
def template():
    return bundled_template_file()


@pytest.fixture(scope="module")
def pose():
    """Points of the template to points of the head."""
    versor = sitk.VersorTransform((0.5, 0.6, 0.62), np.deg2rad(25.0))
    turn = 1.1 * np.reshape(versor.GetMatrix(), (3, 3))
    return Affine.from_parts(turn, [12.0, -30.0, 7.0])


@pytest.fixture(scope="module")
def structures(template, pose):
    return StructureCentroids(pose.determinant * template.volumes, pose.apply(template.centroids))


@pytest.fixture(scope="module")
def brain(template, pose):
    """The brain of the template in the head, and below it a ball that was taken for brain, too."""
    grid = Grid.upright((90, 75, 70), 4.0, centre=pose.apply(template.centroids.mean(0)[None])[0])
    points = pose.inverse().apply(voxel_positions(grid))
    voxels = np.rint(Affine(template.matrix).inverse().apply(points)).astype(int)
    shape = template.tissues.shape[2:]
    inside = ((voxels >= 0) & (voxels < shape)).all(-1)
    tissue = template.tissues[0].sum(0).numpy()[tuple(np.clip(voxels, 0, np.array(shape) - 1).reshape(-1, 3).T)]
    true = inside & (tissue.reshape(inside.shape) > 0.5)
    # In LPS the third coordinate points upwards.
    stem = points[true][np.argmin(points[true][:, 2])]
    ball = np.linalg.norm(points - (stem - [0.0, 0.0, NECK_MM]), axis=-1) < NECK_MM
    return grid, true, ball & ~true


def test_what_is_far_below_the_brain_is_left_out(brain, structures):
    grid, true, ball = brain
    near = near_template(BrainMask(true | ball, grid), structures)
    assert near.grid == grid
    assert near.inside[true].all()
    outside = sitk.GetArrayFromImage(BrainMask(true, grid).distance)
    # The template's brain is filled, and has smoother borders.
    assert not near.inside[outside > FARTHEST_MM + 6.0].any()
    assert near.inside[ball].mean() < 0.2


def test_a_brain_that_was_found_rightly_stays_as_it_is(brain, structures):
    grid, true, _ = brain
    assert near_template(BrainMask(true, grid), structures) is None


def test_a_part_of_a_brain_is_not_compared(brain, structures):
    grid, true, ball = brain
    cut = StructureCentroids(0.3 * structures.volumes, structures.centroids)
    assert near_template(BrainMask(true | ball, grid), cut) is None


def test_an_alignment_that_would_lose_most_of_the_brain_is_wrong(brain, structures):
    grid, true, ball = brain
    wrong = StructureCentroids(structures.volumes, AFFINE.apply(structures.centroids) + 60.0)
    assert near_template(BrainMask(true | ball, grid), wrong) is None


def test_without_a_template_nothing_is_left_out(brain, structures, monkeypatch):
    grid, true, ball = brain
    monkeypatch.setattr("SLSFGRLib.segmentation.template_brain.bundled_template_file", lambda: None)
    assert near_template(BrainMask(true | ball, grid), structures) is None
