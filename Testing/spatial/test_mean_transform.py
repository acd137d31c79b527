"""The mean size and shape of affine transforms."""

import numpy as np
import pytest
from phantoms import rotation_about

from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.mean_transform import mean_log_stretch, mean_stretch, without_mean_stretch

CENTRE = np.array([3.0, -20.0, 14.0])


def heads(count=7):
    """Transforms with any rotation and position, and stretches of up to a third along skew axes."""
    random = np.random.default_rng(3)
    for _ in range(count):
        skew = random.normal(size=(3, 3)) * 0.1
        turn = rotation_about(random.normal(size=3), random.uniform(0, 360))
        yield Affine.from_parts(turn @ (np.eye(3) * random.uniform(0.8, 1.3) + skew + skew.T), random.normal(size=3))


def test_without_the_mean_stretch_the_mean_of_the_logarithms_is_zero():
    affines = list(heads())
    assert np.abs(mean_log_stretch(affines)).max() > 0.01
    centred, to_old = without_mean_stretch(affines, CENTRE)
    np.testing.assert_allclose(mean_log_stretch(centred), 0.0, atol=1e-12)
    np.testing.assert_allclose(to_old.apply(CENTRE), CENTRE)
    for new, old in zip(centred, affines, strict=True):
        np.testing.assert_allclose(new.matrix, to_old.then(old).matrix)


def test_the_mean_of_sizes_is_geometric_and_rotations_do_not_matter():
    turns = (np.eye(3), rotation_about((1, 2, 3), 170.0))
    affines = [Affine.from_parts(size * turn, CENTRE) for size, turn in zip((0.8, 1.8), turns, strict=True)]
    np.testing.assert_allclose(mean_stretch(affines), 1.2 * np.eye(3), atol=1e-12)


def test_the_order_changes_nothing_and_one_transform_is_its_own_mean():
    affines = list(heads())
    np.testing.assert_allclose(mean_stretch(affines), mean_stretch(affines[::-1]), atol=1e-13)
    metric = affines[0].linear.T @ affines[0].linear
    stretch = mean_stretch(affines[:1])
    assert stretch @ stretch == pytest.approx(metric)
