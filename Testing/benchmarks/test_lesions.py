"""The tumours of benchmarks.lesions, and what is measured."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, filled

from benchmarks.lesions import RADIUS_MM, ball, differences


@pytest.fixture
def image():
    return empty_image((50, 60, 40), (2.0, 1.5, 2.0), centre=(0.0, 0.0, 0.0))


def test_ball_lies_around_the_middle_of_the_white_matter(image):
    white_matter = np.zeros(image.GetSize()[::-1], bool)
    white_matter[18:22, 28:32, 23:27] = True
    inside = ball(white_matter, image)
    assert inside.sum() * 6.0 == pytest.approx(4.0 / 3.0 * np.pi * RADIUS_MM**3, rel=0.03)
    np.testing.assert_allclose(np.argwhere(inside).mean(0), [19.5, 29.5, 24.5], atol=1.0)


def test_differences_of_known_transforms(image):
    white_matter = np.zeros(image.GetSize()[::-1], bool)
    white_matter[20, 30, 25] = True
    lesion = filled(image, ball(white_matter, image).astype(np.uint8))
    brain = np.ones(white_matter.shape, bool)
    same = sitk.TranslationTransform(3)
    assert differences(same, same, lesion, image, brain) == (1.0, 0.0)
    shifted = sitk.TranslationTransform(3, (0.0, 3.0, 4.0))
    ratio, distance = differences(shifted, same, lesion, image, brain)
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert distance == pytest.approx(5.0)
    # Points of the fixed image go to points twice as far: what is there looks half as large.
    scaled = sitk.ScaleTransform(3, (2.0, 2.0, 2.0))
    assert differences(scaled, same, lesion, image, brain)[0] == pytest.approx(1.0 / 8.0, rel=0.05)
