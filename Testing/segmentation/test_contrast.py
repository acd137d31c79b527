"""The guess whether an image has T1 contrast, from a ball whose inner part differs from its outer one."""

import numpy as np
import pytest
import torch

from SLSFGRLib.preprocessing import BrainMask, PreparedImage
from SLSFGRLib.segmentation.contrast import is_likely_t1
from SLSFGRLib.spatial.grid import Grid, voxel_positions

GRID = Grid.upright((40, 40, 40), 2.0, centre=(0.0, 0.0, 0.0))
RADIUS = 30.0
DISTANCE = np.linalg.norm(voxel_positions(GRID), axis=-1)


def ball(outer, inner, radius=RADIUS):
    """A ball in CSF of another intensity, whose part deeper than 10 mm has an intensity of its own."""
    image = np.where(radius > DISTANCE, outer, 0.1)
    image[radius - 10.0 > DISTANCE] = inner
    tensor = torch.from_numpy(image.astype(np.float32))[None, None]
    return PreparedImage(tensor, GRID), BrainMask(radius > DISTANCE, GRID)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [(0.5, 0.8, True), (0.7, 0.75, True), (0.75, 0.75, False), (0.6, 0.4, False)],
    ids=["T1", "T1 of little contrast", "FLAIR or PD", "T2"],
)
def test_in_t1_the_inner_part_is_brighter(outer, inner, expected):
    assert is_likely_t1(*ball(outer, inner)) == expected


def test_what_is_too_small_to_have_an_inner_part_is_taken_for_t1():
    assert is_likely_t1(*ball(0.6, 0.4, radius=9.0))


def test_the_brain_may_lie_on_another_grid():
    image, _ = ball(0.5, 0.8)
    grid = Grid.upright((90, 90, 90), 1.0, centre=(0.0, 0.0, 0.0))
    inside = np.linalg.norm(voxel_positions(grid), axis=-1) < RADIUS
    assert is_likely_t1(image, BrainMask(inside, grid))
