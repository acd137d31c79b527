"""Tell the brain from what is attached to it."""

import numpy as np
import pytest
import torch
from phantoms import voxel_positions

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.attached_tissue import REACH_MM, near_core
from SLSFGRLib.spatial.grid import Grid

GRID = Grid.upright((48, 48, 48), 2.0, centre=(0.0, 0.0, 0.0))
NAMES = ["background"] + [structure.name for structure in read_label_table()]
CORTEX, CSF = NAMES.index("Left cerebral cortex"), NAMES.index("Cerebrospinal fluid")
POINTS = voxel_positions(GRID)
RADIUS = 24.0
BRAIN = np.linalg.norm(POINTS, axis=-1) < RADIUS


def found_near(channels):
    """Return where :func:`near_core` finds the brain, from channels that are sure."""
    posteriors = torch.nn.functional.one_hot(torch.from_numpy(channels), len(NAMES)).movedim(-1, 0)[None].float()
    return near_core(posteriors, GRID)[0, 0].numpy() > 0.5


def ball(centre, radius):
    return np.linalg.norm(POINTS - centre, axis=-1) < radius


@pytest.mark.parametrize("bridge", [None, CORTEX, CSF])
def test_a_muscle_behind_thin_bone_is_not_near_the_brain(bridge):
    muscle = ball((0.0, 36.0, 0.0), 9.0) & ~BRAIN
    channels = np.where(BRAIN | muscle, CORTEX, 0)
    if bridge is not None:
        between = ball((0.0, 0.0, 0.0), 40.0) & (np.abs(POINTS[..., [0, 2]]).max(-1) < 2.0) & (POINTS[..., 1] > 0.0)
        channels[between & ~BRAIN & ~muscle] = bridge
    near = found_near(channels)
    assert near[BRAIN].all()
    far = np.linalg.norm(POINTS, axis=-1) > RADIUS + REACH_MM
    assert muscle[far].sum() > 0.5 * muscle.sum()
    assert not near[far].any()


def test_thin_skin_around_the_brain_is_left_out():
    distance = np.linalg.norm(POINTS, axis=-1)
    skin = (distance > 40.0) & (distance < 44.0)
    near = found_near(np.where(BRAIN | skin, CORTEX, 0))
    assert near[BRAIN].all()
    assert not near[skin].any()


def test_a_fold_of_the_cortex_is_kept():
    fold = (np.abs(POINTS[..., 0]) < 3.0) & ball((0.0, 20.0, 0.0), 8.0)
    near = found_near(np.where(BRAIN | fold, CORTEX, 0))
    assert near[fold].all()


def test_what_is_not_surely_tissue_belongs_to_no_core():
    # The right one is larger, but half of it may be CSF.
    left, right = (torch.from_numpy(ball((side, 0.0, 0.0), radius)) for side, radius in ((-22.0, 12.0), (22.0, 14.0)))
    posteriors = torch.zeros(1, len(NAMES), *GRID.shape)
    posteriors[0, CORTEX] = 0.8 * left + 0.5 * right
    posteriors[0, CSF] = 0.5 * right
    posteriors[0, 0] = 1.0 - posteriors[0].sum(0)
    near = near_core(posteriors, GRID)[0, 0] > 0.5
    assert near[left].all()
    assert not near[right].any()


def test_without_a_core_all_is_near():
    assert found_near(np.zeros(GRID.shape, int)).all()
    assert found_near(np.where(ball((0.0, 0.0, 0.0), 2.1), CORTEX, 0)).all()
