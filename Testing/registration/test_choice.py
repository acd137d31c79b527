"""One head or two people: what the images show, what the user has chosen, and what is said about both."""

import pytest
from phantoms import OTHER_HEAD, POSE, balls_image, balls_subject

from SLSFGRLib.registration.choice import choose
from SLSFGRLib.segmentation.subject import Subject


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


@pytest.fixture(scope="module")
def same():
    return balls_subject(POSE)


@pytest.fixture(scope="module")
def different():
    return balls_subject(OTHER_HEAD)


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
