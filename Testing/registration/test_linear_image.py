"""Whole images at several resolutions, and values and derivatives at any of their points."""

import numpy as np
import pytest
import torch
from phantoms import DIRECTIONS, empty_image, filled, head_image, positions, rotation_about

from SLSFGRLib.registration.linear_image import Interpolator, LinearImage, slice_profile
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import Grid

NO_PROFILE = torch.zeros(1, 3, dtype=torch.float64)


def ramp(direction=None, spacing=(1.0, 2.0, 3.0)):
    """An image of the value 2 x - 3 y + 5 z, LPS mm."""
    image = empty_image((14, 13, 12), spacing, direction, origin=(3.0, -7.0, 11.0))
    return filled(image, (positions(image) @ (2.0, -3.0, 5.0)).astype(np.float32))


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_values_and_derivatives_of_a_ramp_are_exact_between_voxels(direction):
    image = LinearImage.from_image(ramp(direction), torch.device("cpu"))
    low, high = np.percentile(positions(ramp(direction)) @ (2.0, -3.0, 5.0), (20, 80))
    points = torch.from_numpy(image.grid.centre + np.random.default_rng(0).uniform(-4, 4, (50, 3)))
    values, slopes, inside = Interpolator(image, NO_PROFILE)(points)
    expected = points.numpy() @ (2.0, -3.0, 5.0)
    usable = inside.numpy() & (expected > low) & (expected < high)
    assert usable.sum() > 10
    # Intensities are scaled, so that the slopes say by how much.
    scale = slopes[usable].numpy() / (2.0, -3.0, 5.0)
    np.testing.assert_allclose(scale, scale[0, 0], rtol=1e-3)
    differences = np.diff(values.numpy()[usable]) / np.diff(expected[usable])
    np.testing.assert_allclose(differences, scale[0, 0], rtol=1e-2)


def test_points_beyond_the_outermost_voxels_are_outside():
    image = LinearImage(torch.ones(1, 1, 5, 6, 7), Grid.upright((5, 6, 7), 2.0))
    points = torch.tensor([[0.0, 0.0, 0.0], [-0.9, 0.0, 0.0], [-1.1, 0.0, 0.0], [12.9, 10.9, 8.9], [13.1, 0.0, 0.0]])
    assert Interpolator(image, NO_PROFILE)(points.double())[2].tolist() == [True, True, False, True, False]


def test_levels_average_only_axes_that_are_finer():
    image = LinearImage.from_image(head_image(empty_image((96, 96, 24), (1.0, 1.0, 4.0)))[0], torch.device("cpu"))
    coarse = image.at(2.0)
    np.testing.assert_allclose(coarse.grid.spacing, (4.0, 2.0, 2.0))
    np.testing.assert_allclose(coarse.grid.centre, image.grid.centre)
    assert image.slice_axis == 0


def test_crop_keeps_the_head_in_its_place():
    whole = LinearImage.from_image(head_image(empty_image((120, 120, 120), centre=(0, 0, 0)))[0], torch.device("cpu"))
    cropped = whole.cropped_to_head()
    assert np.prod(cropped.grid.shape) < 0.6 * np.prod(whole.grid.shape)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-60, 60, (100, 3)))
    first, second = (Interpolator(image, NO_PROFILE)(points)[0] for image in (whole, cropped))
    torch.testing.assert_close(first, second)
    np.testing.assert_allclose(cropped.centre(), whole.centre(), atol=1.0)


def test_thin_slices_are_averaged_over_thick_ones_along_their_normal():
    thick = LinearImage(torch.zeros(1, 1, 8, 32, 32), Grid.upright((8, 32, 32), 1.0))
    thick.grid.matrix[:3, 0] *= 5.0
    thin = LinearImage(torch.zeros(1, 1, 32, 32, 32), Grid.upright((32, 32, 32), 1.0))
    turn = Affine.from_parts(rotation_about((1, 0, 0), 90.0), (0, 0, 0))
    offsets = slice_profile(thick, thin, turn, 1.0).numpy()
    # The slices' normal is z in the thick image and -y in the thin one.
    np.testing.assert_allclose(offsets[:, [0, 2]], 0.0, atol=1e-9)
    assert len(offsets) >= 5
    assert 3.5 < np.ptp(offsets[:, 1]) < 5.0
    np.testing.assert_allclose(offsets.mean(0), 0.0, atol=1e-9)
    assert len(slice_profile(thick, thin, turn, 8.0)) == 1
    assert len(slice_profile(thick, thick, Affine.identity(), 1.0)) == 1
