"""What the structures of two brains say of whether they are of one head."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import OTHER_HEAD, POSE, balls_subject, with_segmentation

from SLSFGRLib.registration.two_people import structures_show_two_people
from SLSFGRLib.spatial.affine import Affine


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


def stretched(factor):
    return Affine.from_parts(np.diag([factor, 1.0, 1.0 / factor]), (0.0, 0.0, 0.0)).then(POSE)


@pytest.mark.parametrize(
    ("moving", "expected"),
    [(POSE, False), (stretched(1.02), False), (stretched(1.15), True), (OTHER_HEAD, True)],
    ids=["one head", "one head, distorted a little", "stretched", "another head"],
)
def test_structures_that_fit_only_if_stretched_show_two_people(fixed, moving, expected):
    other = balls_subject(moving)
    assert structures_show_two_people(fixed, other) == expected
    assert structures_show_two_people(other, fixed) == expected


def test_without_segmentations_nothing_is_said(fixed):
    assert not structures_show_two_people(fixed, replace(balls_subject(OTHER_HEAD), segmentation=None))


def test_segmentations_that_do_not_fit_say_nothing(fixed):
    channels = np.random.default_rng(0).integers(0, 31, fixed.segmentation.grid.shape)
    assert not structures_show_two_people(fixed, with_segmentation(fixed, channels))


def test_too_few_structures_say_nothing(fixed):
    empty = np.zeros(fixed.segmentation.grid.shape, int)
    assert not structures_show_two_people(fixed, with_segmentation(fixed, empty))
