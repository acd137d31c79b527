"""Composite transforms of an affine transform and a field: the points that ITK computes are those of the formula."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import AFFINE, DIRECTIONS, awkward_image

from SLSFGRLib.spatial.composite import affine_then_field, affine_volume_ratio, inverse_of_affine_then_field
from SLSFGRLib.spatial.grid import grid_of_image


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


def test_volume_ratio_is_that_of_the_affine_part_beside_a_field():
    grid = grid_of_image(awkward_image(next(iter(DIRECTIONS))))
    field = smooth_field(grid)
    forth = affine_then_field(AFFINE, field, grid)
    assert affine_volume_ratio(forth) == pytest.approx(AFFINE.determinant, rel=1e-6)
    assert affine_volume_ratio(sitk.Transform(forth)) == pytest.approx(AFFINE.determinant, rel=1e-6)
    back = inverse_of_affine_then_field(AFFINE, -field, grid)
    assert affine_volume_ratio(back) == pytest.approx(1.0 / AFFINE.determinant, rel=1e-6)
    # An affine transform alone is what a user wants to see.
    assert affine_volume_ratio(AFFINE.to_itk()) == 1.0
    assert affine_volume_ratio(sitk.CompositeTransform([AFFINE.to_itk()])) == 1.0
