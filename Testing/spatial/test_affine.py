"""Affine transforms of points in space, and their expression in voxels and in ITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import AFFINE, DIRECTIONS, ORIGIN, TURN, affine_matrix, awkward_image, rotation_about, transformed

from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import Grid, grid_of_image, image_from_array

LINEAR = TURN @ np.diag([1.1, 0.9, 1.05])
POINTS = np.random.default_rng(0).uniform(-100, 100, (20, 3))


def test_parts_are_the_linear_part_and_the_translation():
    np.testing.assert_array_equal(AFFINE.linear, LINEAR)
    np.testing.assert_array_equal(AFFINE.translation, (4.0, -7.0, 11.0))
    expected = [LINEAR @ point + (4.0, -7.0, 11.0) for point in POINTS]
    np.testing.assert_allclose(AFFINE.apply(POINTS), expected, atol=1e-12)
    np.testing.assert_allclose(AFFINE.apply(POINTS.reshape(4, 5, 3)).reshape(-1, 3), expected, atol=1e-12)


def test_transform_about_a_centre_takes_it_to_the_target():
    affine = Affine.about(LINEAR, np.array([30.0, 20.0, 10.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(affine.apply(np.array([30.0, 20.0, 10.0])), (1.0, 2.0, 3.0), atol=1e-12)
    np.testing.assert_array_equal(affine.linear, LINEAR)


def test_transforms_follow_each_other_in_the_order_of_reading():
    second = Affine.from_parts(rotation_about((1, 0, 0), 40), (1.0, 0.0, -5.0))
    np.testing.assert_allclose(AFFINE.then(second).apply(POINTS), second.apply(AFFINE.apply(POINTS)), atol=1e-10)
    assert np.abs(second.then(AFFINE).apply(POINTS) - AFFINE.then(second).apply(POINTS)).max() > 1.0


def test_inverse_takes_points_back_to_where_they_were():
    assert np.abs(AFFINE.apply(POINTS) - POINTS).max() > 1.0
    np.testing.assert_allclose(AFFINE.inverse().apply(AFFINE.apply(POINTS)), POINTS, atol=1e-10)


def test_determinant_is_the_change_of_volume_and_negative_for_a_mirror():
    assert AFFINE.determinant == pytest.approx(1.1 * 0.9 * 1.05)
    assert Affine.from_parts(np.diag([-1.0, 1.0, 1.0]), (0.0, 0.0, 0.0)).determinant == pytest.approx(-1.0)


@pytest.mark.parametrize("moving", DIRECTIONS)
@pytest.mark.parametrize("fixed", ["LPS", "oblique"])
def test_transform_in_voxels_agrees_with_the_one_on_points(fixed, moving):
    fixed, moving = awkward_image(fixed), awkward_image(moving)
    grids = grid_of_image(fixed), grid_of_image(moving)
    matrix = AFFINE.in_voxels(*grids)
    point = AFFINE.apply(np.array(fixed.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0))))
    expected = moving.TransformPhysicalPointToContinuousIndex(point.tolist())[::-1]
    np.testing.assert_allclose((matrix @ [1.0, 2.0, 3.0, 1.0])[:3], expected, atol=1e-9)


def test_itk_transform_takes_points_to_the_same_place():
    np.testing.assert_allclose(transformed(AFFINE.to_itk(), POINTS), AFFINE.apply(POINTS), atol=1e-9)


def test_fit_finds_an_affine_transform_exactly():
    transform = sitk.AffineTransform(LINEAR.flatten().tolist(), (4.0, -7.0, 11.0), (30.0, 20.0, 10.0))
    affine, deviation = Affine.fit(transform, np.array(ORIGIN))
    np.testing.assert_allclose(affine.apply(POINTS), transformed(transform, POINTS), atol=1e-8)
    assert deviation < 1e-8


def test_fit_of_a_nonlinear_transform_has_its_largest_deviation():
    vectors = np.zeros((40, 40, 40, 3))
    vectors[18:23, 18:23, 18:23, 0] = 9.0
    grid = Grid((40, 40, 40), affine_matrix(5.0 * np.eye(3), (-97.5, -97.5, -97.5)))
    bump = sitk.DisplacementFieldTransform(image_from_array(vectors, grid, is_vector=True))
    _, deviation = Affine.fit(bump, np.zeros(3))
    # One of many points is moved by 9 mm: an affine transform can only follow the mean.
    assert deviation == pytest.approx(9.0, rel=0.05)
