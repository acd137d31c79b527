"""One head or two people: what the images show, what the user has chosen, and what is said about both."""

import numpy as np
import pytest
from phantoms import balls_image, balls_subject, rotation_about

from SLSFGRLib.registration.choice import choose
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine

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
