"""The alignment of two subjects: from the centroids of structures, checked by their overlap."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import model_by_intensity
from phantoms import BALL_CENTRES, BALL_RADIUS, balls_image, balls_subject, rotation_about

from SLSFGRLib.io.images import read_image
from SLSFGRLib.models.loading import brain_network, default_model
from SLSFGRLib.registration.affine_optimisation import optimise_affine
from SLSFGRLib.registration.align import MAX_DICE_DROP, MIN_DICE, align, structure_dice
from SLSFGRLib.segmentation.brain_mask import brain_mask
from SLSFGRLib.segmentation.label_map import label_map
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import voxel_positions

POSE = Affine.from_parts(1.1 * rotation_about((1, 2, -1), 50.0), (6.0, -9.0, 4.0))
# The moving image shows at x what the fixed one shows at POSE x.
TRUTH = POSE.inverse()


def shift(*millimetres):
    return Affine.from_parts(np.eye(3), millimetres)


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


@pytest.fixture(scope="module")
def moving():
    return balls_subject(POSE)


@pytest.fixture(scope="module")
def searched(fixed, moving):
    """The affine transform that the images alone give."""
    return optimise_affine(fixed.prepared, moving.prepared)


def error_mm(affine, truth=TRUTH):
    """Return the largest error at the centres of the balls."""
    return np.linalg.norm(affine.apply(BALL_CENTRES) - truth.apply(BALL_CENTRES), axis=1).max()


def with_centroids_moved_by(subject, affine):
    """Return a subject whose centroids are wrong; its label map stays."""
    structures = subject.segmentation.structures
    wrong = replace(structures, centroids=affine.apply(structures.centroids))
    return replace(subject, segmentation=replace(subject.segmentation, structures=wrong))


def test_dice_is_that_of_the_structures_under_the_transform(fixed, moving):
    assert structure_dice(fixed, fixed, Affine.identity()) == pytest.approx(1.0)
    assert structure_dice(fixed, moving, Affine.identity()) < 0.3
    assert structure_dice(fixed, moving, TRUTH) > 0.8
    # An affine transform and an ITK transform mean the same.
    assert structure_dice(fixed, moving, TRUTH.to_itk()) == structure_dice(fixed, moving, TRUTH)
    # Two balls at a distance of d radii share 1 - 3/4 d + d^3 / 16 of their volume.
    distance = 5.5 / BALL_RADIUS
    expected = 1.0 - 0.75 * distance + distance**3 / 16
    shifted = sitk.TranslationTransform(3, (5.5, 0.0, 0.0))
    assert structure_dice(fixed, fixed, shifted) == pytest.approx(expected, abs=0.08)


def test_dice_of_brains_without_structures_is_zero():
    blank = Subject.from_image(balls_image(spacing=2.0))
    nothing = blank.segmented(model_by_intensity({0: 0.5}).segmenter("cpu"))
    assert structure_dice(nothing, nothing, Affine.identity()) == 0.0


def test_alignment_starts_at_the_structures_in_any_pose(fixed, moving):
    assert error_mm(align(fixed, moving)) < 2.0


def test_refinement_that_lowers_the_overlap_is_discarded(fixed):
    # The moving image shows the balls 7 mm from where its segmentation has them, as shadows might.
    moving = balls_subject(shift(7.0, 0.0, 0.0).then(POSE), labels_affine=POSE)
    refined = optimise_affine(fixed.prepared, moving.prepared, TRUTH)
    assert structure_dice(fixed, moving, refined) < structure_dice(fixed, moving, TRUTH) - MAX_DICE_DROP
    assert error_mm(align(fixed, moving)) < 3.0


def test_brains_stay_as_stored_where_everything_that_was_found_is_worse(fixed):
    # The label maps overlap as stored; the centroids and the images say otherwise.
    moving = with_centroids_moved_by(balls_subject(shift(35.0, 0.0, 0.0), Affine.identity()), shift(60.0, 0.0, 0.0))
    assert structure_dice(fixed, moving, optimise_affine(fixed.prepared, moving.prepared)) < MIN_DICE
    np.testing.assert_array_equal(align(fixed, moving).matrix, np.eye(4))


def test_images_are_searched_where_the_centroids_fail(fixed, moving, searched):
    assert error_mm(searched) < 5.0
    found = align(fixed, with_centroids_moved_by(moving, shift(60.0, 0.0, 0.0)))
    np.testing.assert_array_equal(found.matrix, searched.matrix)


def test_images_are_searched_where_too_few_structures_are_found(fixed, moving, searched):
    network = model_by_intensity({0: 0.0, 1: 0.5}).segmenter("cpu")
    found = align(fixed.segmented(network), moving.segmented(network))
    np.testing.assert_array_equal(found.matrix, searched.matrix)


def test_images_are_searched_without_segmentations_or_where_these_are_not_wanted(fixed, moving, searched):
    np.testing.assert_array_equal(align(fixed, moving, use_centroids=False).matrix, searched.matrix)
    np.testing.assert_array_equal(align(fixed, replace(moving, segmentation=None)).matrix, searched.matrix)


def test_given_start_comes_before_the_structures(fixed, moving):
    start = shift(2.0, -1.0, 1.0).then(TRUTH)
    expected = optimise_affine(fixed.prepared, moving.prepared, start)
    np.testing.assert_array_equal(align(fixed, moving, start).matrix, expected.matrix)
    assert error_mm(expected) < 2.0


@pytest.mark.slow
@pytest.mark.shared_data
def test_heads_and_their_skull_stripped_copies_are_aligned_alike(shared_data):
    cpu = torch.device("cpu")
    finder, networks = brain_network(cpu), default_model().segmenter(cpu)
    whole, stripped = [], []
    for name in ("heads/patient_t1", "patients/01_2_T1W"):
        head = read_image(shared_data / f"{name}.nii.gz")
        whole.append(Subject.from_image(head, name, cpu, finder).segmented(networks))
        brain = sitk.Mask(head, brain_mask(label_map(whole[-1])))
        stripped.append(Subject.from_image(brain, name, cpu, finder).segmented(networks))
    assert all(subject.prepared.near_brain is not None for subject in whole)
    assert all(subject.prepared.near_brain is None for subject in stripped)
    grid = whole[0].segmentation.grid
    points = voxel_positions(grid)[sitk.GetArrayFromImage(whole[0].coarse_labels) > 0]
    one, other = align(*whole).apply(points), align(*stripped).apply(points)
    # Measured: 0.45 mm.
    assert np.linalg.norm(one - other, axis=1).mean() < 0.5
