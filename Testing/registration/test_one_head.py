"""How much better a head fits another than its own mirror image does."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import OTHER_HEAD, POSE, balls_subject, empty_image, rotation_about

from SLSFGRLib.io.label_table import mirrored_channels
from SLSFGRLib.registration.one_head import _mirroring, compare_exactly, compare_with_mirror_image
from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.resampling import resample_image


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


@pytest.fixture(scope="module")
def same():
    return balls_subject(POSE)


def test_one_head_fits_much_better_than_mirrored_and_another_does_not(fixed, same):
    for other, limits in ((same, (1.3, np.inf)), (balls_subject(OTHER_HEAD), (0.0, 1.17))):
        found = compare_with_mirror_image(fixed, other, POSE.inverse())
        for comparison in (found, compare_exactly(fixed, other, found)):
            assert limits[0] < comparison.gain < limits[1]


def test_an_exact_comparison_ends_in_the_true_pose(fixed, same):
    moved = Affine.from_parts(rotation_about((0, 0, 1), 2.0), (2.0, -1.0, 1.0))
    found = compare_with_mirror_image(fixed, same, POSE.inverse().then(moved))
    exact = compare_exactly(fixed, same, found)
    points = np.array([[40.0, 0.0, 0.0], [0.0, -40.0, 0.0], [0.0, 0.0, 40.0]])
    errors = [
        np.linalg.norm(each.pose.apply(points) - POSE.inverse().apply(points), axis=1).max() for each in (found, exact)
    ]
    assert errors[1] < 0.3
    assert errors[1] <= errors[0]
    assert exact.information >= found.information


def test_in_a_wrong_pose_nothing_is_gained(fixed, same):
    turned = Affine.from_parts(rotation_about((0, 0, 1), 90.0), (0.0, 0.0, 0.0))
    assert compare_with_mirror_image(fixed, same, POSE.inverse().then(turned)).gain < 1.0


def test_what_lies_outside_the_moving_image_does_not_count(fixed, same):
    whole = same.image
    slab = empty_image((128, 128, 40), origin=whole.GetOrigin(), spacing=whole.GetSpacing())
    slab.SetOrigin(whole.TransformIndexToPhysicalPoint((0, 0, 44)))
    cut = Subject.from_image(resample_image(whole, slab, Affine.identity().to_itk()))
    assert compare_with_mirror_image(fixed, cut, POSE.inverse()).gain > 1.3


def with_structures(subject, pose):
    """The subject with centroids of structures as they are seen at a pose, left and right of the plane x = 0."""
    random = np.random.default_rng(0)
    other = mirrored_channels()[1:] - 1
    centroids = random.uniform((5.0, -60.0, -40.0), (60.0, 60.0, 60.0), (len(other), 3))
    first = np.minimum(other, np.arange(len(other)))
    centroids = centroids[first] * np.where(other == first, -1.0, 1.0)[:, None] ** [1, 0, 0]
    centroids[other == np.arange(len(other)), 0] = 0.0
    structures = StructureCentroids(np.full(len(other), 1000.0), pose.inverse().apply(centroids))
    return replace(subject, segmentation=replace(subject.segmentation, structures=structures))


def test_the_mirror_stands_between_left_and_right_structures(same):
    found = _mirroring(with_structures(same, POSE))
    normal = POSE.linear.T @ (1.0, 0.0, 0.0)
    np.testing.assert_allclose(found.linear, np.eye(3) - 2.0 * np.outer(normal, normal), atol=1e-6)
    middle = POSE.inverse().apply(np.zeros(3))
    np.testing.assert_allclose(found.apply(middle), middle, atol=1e-6)


@pytest.mark.parametrize("is_segmented", [False, True])
def test_without_left_and_right_structures_the_mirror_stands_along_the_grid(same, is_segmented):
    head = replace(same, segmentation=None)
    if is_segmented:
        # All in one place.
        head = with_structures(same, POSE)
        structures = head.segmentation.structures
        structures = replace(structures, centroids=0.0 * structures.centroids)
        head = replace(head, segmentation=replace(head.segmentation, structures=structures))
    found = _mirroring(head)
    np.testing.assert_allclose(found.linear, np.diag([-1.0, 1.0, 1.0]), atol=1e-9)
    middle = POSE.inverse().apply(np.zeros(3))
    np.testing.assert_allclose(found.apply(middle), middle, atol=3.0)
