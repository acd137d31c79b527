"""The half-way space of several scans."""

from itertools import combinations

import numpy as np
import pytest
from phantoms import rotation_about

from SLSFGRLib.registration.halfway import average_poses, mean_pose
from SLSFGRLib.spatial.affine import Affine

CENTRES = [np.array(centre) for centre in ((0.0, 0.0, 0.0), (5.0, -80.0, 20.0), (3.0, 2.0, 40.0))]


def pose(axis, degrees, centre, target):
    return Affine.about(rotation_about(axis, degrees), centre, target)


def known_poses():
    middle = np.mean(CENTRES, axis=0)
    turns = ((1, 0, 0), 8.0), ((0, 1, 2), -15.0), ((-1, 3, 0), 5.0)
    return [pose(*turn, middle, centre) for turn, centre in zip(turns, CENTRES, strict=True)]


def pairs_of(poses):
    pairs = {}
    for one, other in combinations(range(len(poses)), 2):
        pairs[one, other] = poses[one].inverse().then(poses[other])
        pairs[other, one] = pairs[one, other].inverse()
    return pairs


def test_consistent_pairs_are_reproduced():
    pairs = pairs_of(known_poses())
    found, middle = average_poses(pairs, CENTRES)
    for (one, other), expected in pairs.items():
        np.testing.assert_allclose(found[one].inverse().then(found[other]).matrix, expected.matrix, atol=1e-6)
    # No scan is the reference: on average they neither turn nor move the head.
    mean = mean_pose(found, middle)
    np.testing.assert_allclose(mean.matrix, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(middle, np.mean(CENTRES, axis=0), atol=1e-6)


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_the_scans_changes_nothing(order):
    pairs = pairs_of(known_poses())
    # The pairs contradict each other, as measured ones do.
    error = pose((1, 1, 0), 0.2, CENTRES[0], CENTRES[0] + 0.1)
    pairs[0, 1] = pairs[0, 1].then(error)
    pairs[1, 0] = pairs[0, 1].inverse()
    found, _ = average_poses(pairs, CENTRES)
    swapped, _ = average_poses(
        {(a, b): pairs[order[a], order[b]] for a, b in pairs}, [CENTRES[number] for number in order]
    )
    points = np.random.default_rng(0).uniform(-80, 80, (50, 3)) + np.mean(CENTRES, axis=0)
    for place, number in enumerate(order):
        np.testing.assert_allclose(swapped[place].apply(points), found[number].apply(points), atol=0.001)


def test_a_pair_that_failed_counts_little():
    poses = [*known_poses(), pose((0, 0, 1), 3.0, np.mean(CENTRES, axis=0), np.array([9.0, 9.0, 9.0]))]
    centres = [*CENTRES, np.array([9.0, 9.0, 9.0])]
    pairs = pairs_of(poses)
    truth = pairs[2, 3]
    pairs[0, 1] = pairs[0, 1].then(Affine.from_parts(np.eye(3), (20.0, 0.0, 0.0)))
    pairs[1, 0] = pairs[0, 1].inverse()
    found, _ = average_poses(pairs, centres)
    points = np.random.default_rng(0).uniform(-80, 80, (50, 3)) + np.mean(CENTRES, axis=0)
    error = np.linalg.norm(found[2].inverse().then(found[3]).apply(points) - truth.apply(points), axis=1)
    assert error.max() < 0.3
