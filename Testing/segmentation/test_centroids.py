"""The affine alignment of two segmentations by the centroids of their structures."""

import numpy as np
import pytest
import torch
from phantoms import DIRECTIONS, empty_image, positions, rotation_about

from SLSFGRLib.segmentation.centroids import MIN_STRUCTURES, align_centroids
from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import grid_of_image

CENTRES = np.array(
    [
        (40, 0, 20), (-40, 2, 22), (12, -15, 10), (-14, -12, 12), (0, 30, -40), (25, -30, -5),
        (-27, -28, -6), (2, 55, -10), (30, 40, 35), (-32, 42, 30), (0, -55, 0), (5, 5, 48),
    ],
    dtype=float,
)  # fmt: skip
# A rotated, larger head, far away.
POSE = Affine.from_parts(1.1 * rotation_about((1, 2, -1), 40), (30.0, -30.0, 27.0))


def masks(image, pose=None, displaced=None, count=12, semi_axes=(9.0, 7.0, 11.0)):
    """Return soft ellipsoids, (K, D, H, W), on the grid of an image, and the grid.

    :param pose: takes the ellipsoids there from their own places.
    :param displaced: the number of an ellipsoid that lies elsewhere.
    """
    points = positions(image)
    if pose is not None:
        points = pose.inverse().apply(points)
    soft = []
    for number, centre in enumerate(CENTRES[:count]):
        shift = np.array([0.0, 45.0, 0.0]) if number == displaced else 0.0
        radius = np.sqrt((((points - centre - shift) / semi_axes) ** 2).sum(-1))
        soft.append(1.0 / (1.0 + np.exp(np.clip(4.0 * (radius - 1.0), -50, 50))))
    return torch.from_numpy(np.stack(soft).astype(np.float32)), grid_of_image(image)


def structures(image, pose=None, **options):
    """Return the volumes and centroids of the ellipsoids."""
    return StructureCentroids.from_posteriors(*masks(image, pose, **options))


def fixed_image():
    return empty_image((30, 38, 32), (4.0, 4.0, 4.0), centre=(0.0, 0.0, 0.0))


def moving_image(direction="LPS"):
    return empty_image((36, 34, 44), (5.0, 5.5, 4.5), DIRECTIONS[direction], centre=POSE.translation)


def assert_near(found, expected, millimetres, degrees):
    """Compare two transforms by the places of the ellipsoids and by the angle between their rotations."""
    assert np.linalg.norm(found.apply(CENTRES) - expected.apply(CENTRES), axis=1).max() < millimetres
    left, _, right = np.linalg.svd(found.linear @ np.linalg.inv(expected.linear))
    angle = np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1.0) / 2.0, -1.0, 1.0)))
    assert angle < degrees


@pytest.mark.parametrize("direction", ["LPS", "permuted", "oblique left-handed"])
def test_rotated_and_larger_head_far_away_is_found(direction):
    found = align_centroids(structures(fixed_image()), structures(moving_image(direction), POSE))
    assert_near(found, POSE, 1.0, 1.0)


def test_one_misplaced_structure_is_ignored():
    found = align_centroids(structures(fixed_image()), structures(moving_image(), POSE, displaced=3))
    assert_near(found, POSE, 1.0, 1.0)


def test_structures_that_only_one_image_has_are_left_out():
    fixed, grid = masks(fixed_image())
    moving, moving_grid = masks(moving_image(), POSE)
    fixed[2] = 0.0
    moving[5] = 0.0
    # A speck far from where the structure lies.
    moving[7] = 0.0
    moving[7, 0, 0, 0] = 1.0
    found = align_centroids(
        StructureCentroids.from_posteriors(fixed, grid), StructureCentroids.from_posteriors(moving, moving_grid)
    )
    assert_near(found, POSE, 1.0, 1.0)


def test_too_few_structures_give_no_alignment():
    for count, is_enough in ((MIN_STRUCTURES, True), (MIN_STRUCTURES - 1, False)):
        pair = structures(fixed_image(), count=count), structures(moving_image(), POSE, count=count)
        found = align_centroids(*pair)
        assert (found is not None) == is_enough
    nothing = StructureCentroids.from_posteriors(torch.zeros(12, 8, 8, 8), grid_of_image(fixed_image()))
    assert align_centroids(nothing, nothing) is None
