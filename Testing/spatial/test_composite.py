"""Composite transforms of an affine transform and a field: the points that ITK computes are those of the formula."""

import numpy as np
import pytest
import torch
from phantoms import DIRECTIONS, empty_image, rotation_about, transformed

from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field, inverse_of_affine_then_field
from SLSFGRLib.spatial.grid import grid_of_image, voxel_positions

ORIGIN = (-31.5, 12.25, 107.0)
AFFINE = Affine.from_parts(rotation_about((1, -2, 0.5), 25) @ np.diag([1.1, 0.9, 1.05]), (4.0, -7.0, 11.0))


def awkward_image(direction):
    return empty_image((9, 12, 10), (0.9, 1.3, 2.7), DIRECTIONS[direction], ORIGIN)


def smooth_field(grid, amount=1.5):
    """A field of a few voxels that is zero at the border, so that nothing outside the grid is asked for."""
    axes = [np.sin(np.pi * np.arange(size) / (size - 1)) for size in grid.shape]
    bump = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    return torch.tensor(np.stack([amount * bump, -0.5 * amount * bump, 0.7 * amount * bump]), dtype=torch.float32)[None]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_affine_then_field_applies_the_affine_transform_to_the_displaced_point(direction):
    image = awkward_image(direction)
    grid = grid_of_image(image)
    field = smooth_field(grid)
    transform = affine_then_field(AFFINE, field, grid)
    for k, j, i in ((4, 5, 6), (2, 9, 3), (7, 6, 5)):
        displaced = np.array([k, j, i]) + field[0, :, k, j, i].numpy()
        expected = AFFINE.apply(np.array(image.TransformContinuousIndexToPhysicalPoint(displaced[::-1].tolist())))
        found = transform.TransformPoint(image.TransformIndexToPhysicalPoint((i, j, k)))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_inverse_displaces_after_the_inverse_affine_transform(direction):
    image = awkward_image(direction)
    grid = grid_of_image(image)
    field = smooth_field(grid)
    transform = inverse_of_affine_then_field(AFFINE, field, grid)
    for k, j, i in ((4, 5, 6), (2, 9, 3)):
        moving_point = AFFINE.apply(np.array(image.TransformIndexToPhysicalPoint((i, j, k))))
        displaced = np.array([k, j, i]) + field[0, :, k, j, i].numpy()
        expected = image.TransformContinuousIndexToPhysicalPoint(displaced[::-1].tolist())
        np.testing.assert_allclose(transform.TransformPoint(moving_point.tolist()), expected, atol=1e-5)


def test_inverse_takes_points_back_to_where_they_were():
    grid = grid_of_image(awkward_image("oblique left-handed"))
    shift = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1, 1).expand(1, 3, *grid.shape)
    points = voxel_positions(grid)[3:7, 4:8, 3:6].reshape(-1, 3)
    there = transformed(affine_then_field(AFFINE, shift, grid), points)
    back = transformed(inverse_of_affine_then_field(AFFINE, -shift, grid), there)
    assert np.linalg.norm(there - points, axis=1).min() > 1.0
    np.testing.assert_allclose(back, points, atol=1e-6)
