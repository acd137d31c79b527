"""Fit an affine transform to corresponding points, of which some are wrong."""

import numpy as np
import pytest
from phantoms import rotation_about

from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.affine_fit import fit_affine

# As far apart as the structures of a brain.
POINTS = np.random.default_rng(0).uniform(-60, 60, (30, 3))
SIMILARITY = Affine.from_parts(1.15 * rotation_about((1, 2, -1), 130.0), (40.0, -25.0, 10.0))
AFFINE = Affine.from_parts(rotation_about((1, -2, 0.5), 70) @ np.diag([1.1, 0.95, 1.05]), (4.0, -7.0, 11.0))


def largest_error(found, expected):
    return np.linalg.norm(found.apply(POINTS) - expected.apply(POINTS), axis=1).max()


def test_similarity_transform_is_found_exactly_however_large_its_rotation():
    assert largest_error(fit_affine(POINTS, SIMILARITY.apply(POINTS)), SIMILARITY) < 1e-8


def test_affine_transform_is_found_but_for_the_part_that_the_ridge_takes():
    found = fit_affine(POINTS, AFFINE.apply(POINTS))
    # Stretches differ from the similarity's by up to 8 %. The ridge takes 8^2 / (8^2 + 35^2) of that, for points with
    # a standard deviation of 35 mm: 5 %, and the farthest points lie 100 mm from the centre.
    assert largest_error(found, AFFINE) < 1.0
    np.testing.assert_allclose(found.linear, AFFINE.linear, atol=0.01)


@pytest.mark.parametrize("count", [3, 8])
def test_outliers_have_no_influence(count):
    targets = SIMILARITY.apply(POINTS)
    targets[:count] += np.random.default_rng(1).uniform(30, 90, (count, 3))
    assert largest_error(fit_affine(POINTS, targets), SIMILARITY) < 0.5


def test_noise_averages_out():
    noise = np.random.default_rng(2).normal(0, 1.0, POINTS.shape)
    assert largest_error(fit_affine(POINTS, SIMILARITY.apply(POINTS) + noise), SIMILARITY) < 2.0


def test_points_in_a_plane_do_not_lead_to_a_collapse_across_it():
    flat = POINTS * (1.0, 1.0, 0.0)
    found = fit_affine(flat, SIMILARITY.apply(flat))
    np.testing.assert_allclose(found.matrix, SIMILARITY.matrix, atol=1e-6)


def test_result_is_never_a_mirror_image():
    assert fit_affine(POINTS, POINTS * (-1.0, 1.0, 1.0)).determinant > 0
