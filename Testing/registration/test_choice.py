"""One head or two people: what the images show, what the user has chosen, and what is said about both."""

import numpy as np
import pytest
from phantoms import balls_image, balls_subject, empty_image, rotation_about

from SLSFGRLib.registration.choice import ONE_HEAD, choose, matched_fraction
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.resampling import resample_image

POSE = Affine.from_parts(rotation_about((1, 2, -1), 20.0), (6.0, -9.0, 4.0))
# Another head: longer, lower and bent.
OTHER = Affine.from_parts(np.array([[0.9, 0.1, 0.0], [0.0, 1.15, 0.0], [0.0, 0.15, 0.85]]), (0.0, 0.0, 0.0)).then(POSE)


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


@pytest.fixture(scope="module")
def same():
    return balls_subject(POSE)


@pytest.fixture(scope="module")
def different():
    return balls_subject(OTHER)


def test_blocks_fit_where_they_are_only_in_one_head(fixed, same, different):
    assert matched_fraction(fixed, same, POSE.inverse()) > 0.8
    shifted = POSE.inverse().then(Affine.from_parts(np.eye(3), (6.0, 0.0, 0.0)))
    assert matched_fraction(fixed, same, shifted) < 0.5 * ONE_HEAD + 0.1
    assert matched_fraction(fixed, different, POSE.inverse()) < ONE_HEAD


def test_what_lies_outside_the_moving_image_does_not_count(fixed, same):
    whole = same.image
    slab = empty_image((128, 128, 40), origin=whole.GetOrigin(), spacing=whole.GetSpacing())
    slab.SetOrigin(whole.TransformIndexToPhysicalPoint((0, 0, 44)))
    cut = Subject.from_image(resample_image(whole, slab, Affine.identity().to_itk()))
    assert matched_fraction(fixed, cut, POSE.inverse()) > 0.6


@pytest.mark.parametrize(
    ("moving", "wanted", "transform", "reason", "warning"),
    [
        ("same", "auto", "rigid", "one head", ""),
        ("different", "auto", "deformable", "two people", ""),
        ("same", "rigid", "rigid", "you chose", ""),
        ("same", "deformable", "deformable", "you chose", "one head"),
        ("different", "rigid", "rigid", "you chose", "two people"),
        ("different", "affine", "affine", "you chose", "two people"),
        ("different", "deformable", "deformable", "you chose", ""),
    ],
)
def test_the_images_decide_unless_the_user_does(fixed, request, moving, wanted, transform, reason, warning):
    choice = choose(fixed, request.getfixturevalue(moving), wanted)
    assert choice.transform == transform
    assert reason in choice.reason
    assert bool(choice.warning) == bool(warning)
    assert warning in choice.warning


def test_a_wish_that_only_a_deformation_can_fulfil_decides():
    image = Subject.from_image(balls_image(spacing=2.0))
    choice = choose(image, image, "auto", is_deformation_wanted=True)
    assert (choice.transform, choice.warning) == ("deformable", "")
    assert choose(image, image, "rigid").reason == "you chose it."
