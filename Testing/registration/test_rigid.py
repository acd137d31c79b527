"""The rigid and affine transform between two scans of one head: known poses, contrasts, slices and fields of view."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import balls_subject, empty_image, filled, head_image, positions, rotation_about

from SLSFGRLib.registration.align import structure_dice
from SLSFGRLib.registration.linear_image import LinearImage
from SLSFGRLib.registration.linear_solver import COARSE, FINE, LevelProblem, solve
from SLSFGRLib.registration.pose_search import is_slab, search
from SLSFGRLib.registration.rigid import align_heads
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine

POINTS = np.random.default_rng(0).uniform(-55.0, 55.0, (200, 3))
POSE = Affine.from_parts(rotation_about((1, 2, -1), 9.0), (6.0, -7.0, 4.0))


def grid(spacing=(2.5, 2.5, 2.5), extent=(180.0, 210.0, 190.0)):
    return empty_image(np.divide(extent, spacing).round(), spacing, centre=(0.0, 0.0, 0.0))


def disturbed(image, contrast=None, seed=0):
    """The image in another contrast, with shading and noise."""
    random = np.random.default_rng(seed)
    array = sitk.GetArrayFromImage(image)
    if contrast:
        array = np.interp(array, *contrast)
    shading = 1.0 + 0.003 * positions(image)[..., 0]
    return filled(image, (array * shading + random.normal(0, 4, array.shape)).astype(np.float32))


def seen_at(pose, image, **options):
    """The head as it appears after a transform of its points."""
    return disturbed(head_image(image, pose.inverse().matrix)[0], seed=1, **options)


def error_mm(found, truth):
    return np.linalg.norm(found.apply(POINTS) - truth.apply(POINTS), axis=1).mean()


def whole(image):
    return LinearImage.from_image(image, torch.device("cpu")).cropped_to_head()


def subject(image):
    return Subject.from_image(image)


def test_poses_improve_together_as_each_does_alone():
    fixed, moving = whole(disturbed(head_image(grid())[0])), whole(seen_at(POSE, grid()))
    starts = [Affine.identity(), POSE, Affine.from_parts(rotation_about((0, 0, 1), 100.0), (5.0, 0.0, 0.0))]
    # Sums in another order accept a step sooner or later, so there must be enough of them.
    problem = LevelProblem(fixed, moving, replace(COARSE[0], iterations=20), starts[0])
    together = problem.maximise(starts, is_rigid=True)
    for start, found in zip(starts, together, strict=True):
        (alone,) = problem.maximise([start], is_rigid=True)
        assert found.value == pytest.approx(alone.value, abs=1e-4)
        assert error_mm(found.pose, alone.pose) < 0.01
    assert max(together, key=lambda aligned: aligned.value).value > together[2].value + 0.05


# The brain is inverted, the skull is not.
T2 = ((0, 60, 80, 220), (0, 60, 220, 40))


@pytest.mark.parametrize(("contrast", "limit"), [(None, 0.25), (T2, 0.7)], ids=["like", "unlike"])
def test_known_pose_is_recovered_to_a_fraction_of_a_voxel(contrast, limit):
    fixed, moving = disturbed(head_image(grid())[0]), seen_at(POSE, grid(), contrast=contrast)
    found = solve(whole(fixed), whole(moving), Affine.identity(), (*COARSE, *FINE)).pose
    assert error_mm(found, POSE) < limit
    np.testing.assert_allclose(found.linear @ found.linear.T, np.eye(3), atol=1e-9)


def test_scale_and_shear_are_found_where_they_are_wanted():
    truth = Affine.from_parts(
        POSE.linear @ np.array([[1.05, 0.03, 0], [0, 0.96, 0.02], [0, 0, 1.02]]), (3.0, 2.0, -4.0)
    )
    fixed, moving = subject(disturbed(head_image(grid())[0])), subject(seen_at(truth, grid()))
    assert error_mm(align_heads(fixed, moving, Affine.identity(), is_rigid=False), truth) < 0.25
    rigid = align_heads(fixed, moving, Affine.identity())
    assert abs(rigid.determinant - 1.0) < 1e-9


@pytest.mark.parametrize("thick_is_fixed", [True, False])
def test_thick_slices_in_another_direction_do_not_bias_the_pose(thick_is_fixed):
    thin, thick = grid(), grid((1.5, 6.0, 1.5))
    # Slices average the head over their thickness.
    fine = grid((1.5, 1.0, 1.5))
    average = lambda image: sitk.BinShrink(image, (1, 6, 1))  # noqa: E731
    if thick_is_fixed:
        fixed, moving = average(disturbed(head_image(fine)[0])), seen_at(POSE, thin)
    else:
        fixed, moving = disturbed(head_image(thin)[0]), average(seen_at(POSE, fine))
    assert max(fixed.GetSpacing() if thick_is_fixed else moving.GetSpacing()) == thick.GetSpacing()[1]
    assert error_mm(align_heads(subject(fixed), subject(moving), Affine.identity()), POSE) < 0.3


@pytest.mark.parametrize("degrees", [60.0, 170.0])
def test_any_rotation_is_found_without_a_start(degrees):
    truth = Affine.from_parts(rotation_about((1, 0.4, -0.2), degrees), (80.0, -50.0, 20.0))
    centre = truth.apply(np.zeros(3))
    moving = seen_at(truth, empty_image((110, 110, 110), centre=centre))
    found = search(whole(disturbed(head_image(grid())[0])), whole(moving))
    assert error_mm(found.pose, truth) < 3.0


def test_a_slab_of_60_mm_is_found_in_a_whole_head():
    slab = grid(extent=(180.0, 210.0, 60.0))
    slab.SetOrigin((slab.GetOrigin()[0], slab.GetOrigin()[1], 5.0))
    fixed, moving = subject(disturbed(head_image(slab)[0])), subject(seen_at(POSE, grid()))
    assert error_mm(align_heads(fixed, moving), POSE) < 0.3


@pytest.mark.parametrize(
    ("extent", "bottom", "expected"),
    [
        # A small head is whole, so its centre is where it seems to be.
        ((100.0, 120.0, 110.0), None, False),
        ((100.0, 120.0, 55.0), 0.0, True),
        ((100.0, 55.0, 110.0), None, True),
        ((180.0, 210.0, 190.0), None, False),
    ],
)
def test_an_image_is_a_slab_where_it_cuts_the_head(extent, bottom, expected):
    image = grid((2.0, 2.0, 2.0), extent)
    if bottom is not None:
        image.SetOrigin((*image.GetOrigin()[:2], bottom))
    half = np.diag([2.0, 2.0, 2.0, 1.0]) if max(extent) < 200 else np.eye(4)
    head = head_image(image, half)[0]
    assert is_slab(whole(head)) is expected
    # Air around it changes nothing.
    assert is_slab(whole(sitk.ConstantPad(head, [20] * 3, [20] * 3, 0.0))) is expected


def test_centroids_of_structures_are_the_start_where_they_fit():
    pose = Affine.from_parts(rotation_about((1, 2, -1), 50.0), (6.0, -9.0, 4.0))
    fixed, moving = balls_subject(), balls_subject(pose)
    found = align_heads(fixed, moving)
    assert error_mm(found, pose.inverse()) < 0.1
    assert structure_dice(fixed, moving, found) > 0.8
    # Where they are wrong, the images decide.
    wrong = balls_subject(pose, labels_affine=Affine.from_parts(np.eye(3), (25.0, 0.0, 0.0)).then(pose))
    assert error_mm(align_heads(fixed, wrong), pose.inverse()) < 0.1
