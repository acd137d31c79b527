import numpy as np
import pytest
import torch
from phantoms import DIRECTIONS, affine_matrix, empty_image, positions, rotation_about

from SLSFGRLib.registration.centroids import FEWEST_STRUCTURES, align_centroids
from SLSFGRLib.segmentation.structures import Structures
from SLSFGRLib.spatial.affine_fit import fit_affine
from SLSFGRLib.spatial.grid import grid_of_image

CENTRES = np.array(
    [
        (40, 0, 20), (-40, 2, 22), (12, -15, 10), (-14, -12, 12), (0, 30, -40), (25, -30, -5),
        (-27, -28, -6), (2, 55, -10), (30, 40, 35), (-32, 42, 30), (0, -55, 0), (5, 5, 48),
    ],
    dtype=float,
)  # fmt: skip
# A turned, larger head, far away.
POSE = affine_matrix(1.1 * rotation_about((1, 2, -1), 40), (30.0, -30.0, 27.0))


def moved(matrix, points):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def masks(image, matrix=None, displaced=None, count=12, semi_axes=(9.0, 7.0, 11.0)):
    """Soft ellipsoids, (K, D, H, W), on the grid of an image; ``matrix`` takes them there from their own places."""
    points = positions(image)
    if matrix is not None:
        points = moved(np.linalg.inv(matrix), points)
    shares = []
    for number, centre in enumerate(CENTRES[:count]):
        shift = np.array([0.0, 45.0, 0.0]) if number == displaced else 0.0
        radius = np.sqrt((((points - centre - shift) / semi_axes) ** 2).sum(-1))
        shares.append(1.0 / (1.0 + np.exp(np.clip(4.0 * (radius - 1.0), -50, 50))))
    return torch.from_numpy(np.stack(shares).astype(np.float32)), grid_of_image(image)


def structures(image, matrix=None, **options):
    """Where they lie, by their masks."""
    return Structures.of(*masks(image, matrix, **options))


def fixed_image():
    return empty_image((30, 38, 32), (4.0, 4.0, 4.0), centre=(0.0, 0.0, 0.0))


def moving_image(direction="LPS"):
    return empty_image((36, 34, 44), (5.0, 5.5, 4.5), DIRECTIONS[direction], centre=moved(POSE, np.zeros(3)))


def assert_near(found, expected, millimetres, degrees):
    assert np.linalg.norm(moved(found, CENTRES) - moved(expected, CENTRES), axis=1).max() < millimetres
    left, _, right = np.linalg.svd(found[:3, :3] @ np.linalg.inv(expected[:3, :3]))
    angle = np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1.0) / 2.0, -1.0, 1.0)))
    assert angle < degrees


# --- segmentations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["LPS", "permuted", "oblique left-handed"])
def test_a_turned_and_larger_head_far_away_is_found(direction):
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
    found = align_centroids(Structures.of(fixed, grid), Structures.of(moving, moving_grid))
    assert_near(found, POSE, 1.0, 1.0)


def test_too_few_structures_give_no_alignment():
    for count, is_enough in ((FEWEST_STRUCTURES, True), (FEWEST_STRUCTURES - 1, False)):
        pair = structures(fixed_image(), count=count), structures(moving_image(), POSE, count=count)
        found = align_centroids(*pair)
        assert (found is not None) == is_enough
    nothing = Structures.of(torch.zeros(12, 8, 8, 8), grid_of_image(fixed_image()))
    assert align_centroids(nothing, nothing) is None


# --- points -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 40, 90, 179])
def test_similarity_transforms_are_found_exactly(degrees):
    expected = affine_matrix(0.8 * rotation_about((1, -2, 0.5), degrees), (100.0, -20.0, 3.0))
    np.testing.assert_allclose(fit_affine(CENTRES, moved(expected, CENTRES)), expected, atol=1e-6)


def test_a_stretch_is_found_but_for_a_little():
    expected = affine_matrix(rotation_about((0, 0, 1), 20) @ np.diag([1.12, 0.93, 1.0]), (5.0, 0.0, 0.0))
    targets = moved(expected, CENTRES)
    assert np.linalg.norm(moved(fit_affine(CENTRES, targets), CENTRES) - targets, axis=1).max() < 1.0
    # The larger the spread of the points, the less a similarity transform is preferred.
    far = fit_affine(10.0 * CENTRES, 10.0 * targets)
    assert np.abs(far[:3, :3] - expected[:3, :3]).max() < 2e-3


def test_points_that_are_far_out_change_little():
    expected = affine_matrix(1.05 * rotation_about((1, 1, 0), 25), (10.0, 0.0, -5.0))
    targets = moved(expected, CENTRES)
    targets[[1, 6, 8]] += [(60.0, 0.0, 0.0), (0.0, -40.0, 30.0), (20.0, 20.0, 20.0)]
    assert_near(fit_affine(CENTRES, targets), expected, 0.5, 0.5)


def test_small_errors_are_averaged():
    expected = affine_matrix(rotation_about((1, 1, 0), 25))
    noise = np.random.default_rng(0).normal(size=CENTRES.shape)
    assert_near(fit_affine(CENTRES, moved(expected, CENTRES) + noise), expected, 2.0, 1.5)
