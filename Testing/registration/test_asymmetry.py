"""Notice a place where a brain differs much from its other side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import TILT, symmetric_subject, upright

from SLSFGRLib.registration.asymmetry import LARGE, asymmetry_notes, largest_asymmetry

CENTRE = np.array([24.0, 6.0, 2.0])


@pytest.fixture(scope="module")
def healthy():
    return symmetric_subject()


def with_ball(subject, level, centre=CENTRE, radius=14.0):
    """The same subject with a ball of another intensity, which the segmentation does not notice."""
    inside = torch.from_numpy(np.linalg.norm(upright(subject.grid) - centre, axis=-1) < radius)
    tensor = torch.where(inside, level, subject.prepared.tensor)
    return replace(subject, prepared=replace(subject.prepared, tensor=tensor))


def test_sides_of_a_symmetric_brain_do_not_differ(healthy):
    assert largest_asymmetry(healthy).difference < 0.15
    assert asymmetry_notes(healthy, healthy) == []


@pytest.mark.parametrize("level", [0.0, 1.3])
def test_a_ball_on_one_side_is_found_and_said(healthy, level):
    diseased = with_ball(healthy, level)
    found = largest_asymmetry(diseased)
    assert found.difference > LARGE
    # On one side or on the other.
    assert np.linalg.norm(np.abs(TILT.apply(found.position[None])[0]) - CENTRE) < 6.0
    (note,) = asymmetry_notes(healthy, diseased)
    assert note.startswith("The brain in the moving image looks different on its left and right side")
    numbers = [float(word.strip(",")) for word in note.split("most at ")[1].split(" mm")[0].split()[1::2]]
    np.testing.assert_allclose(numbers, np.abs(found.position), atol=0.51)
    letters = note.split("most at ")[1].split(" mm")[0].split()[::2]
    assert letters == [pair[int(value < 0)] for pair, value in zip(("LR", "PA", "SI"), found.position, strict=True)]
    assert len(asymmetry_notes(diseased, diseased)) == 2


def test_a_small_ball_and_one_on_both_sides_are_not(healthy):
    assert largest_asymmetry(with_ball(healthy, 0.0, radius=4.0)).difference < 0.5 * LARGE
    both = with_ball(with_ball(healthy, 0.0), 0.0, CENTRE * [-1, 1, 1])
    assert largest_asymmetry(both).difference < 0.15


def test_a_named_lesion_and_a_brain_without_segmentation_are_not_looked_at(healthy):
    diseased = with_ball(healthy, 0.0)
    named = replace(diseased, lesion=torch.zeros_like(diseased.prepared.tensor))
    assert asymmetry_notes(named, named) == []
    unknown = replace(diseased, segmentation=None)
    assert largest_asymmetry(unknown) is None
    assert asymmetry_notes(unknown, unknown) == []
