"""Pairs in two contrasts, and the error where the correct transform is known."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import DIRECTIONS, empty_image, positions, transformed

from benchmarks.multimodal_pairs import known_deformation
from benchmarks.score import mean_error


def test_a_known_deformation_has_its_maximum_and_its_inverse():
    image = empty_image((40, 48, 36), (4.0, 4.0, 5.0), DIRECTIONS["oblique left-handed"], centre=(5, 6, 7))
    deformation, inverse = known_deformation(image, 0)
    inner = positions(image)[8:-8, 8:-8, 8:-8].reshape(-1, 3)[::50]
    moved = transformed(deformation, inner)
    lengths = np.linalg.norm(moved - inner, axis=1)
    assert 4.0 < lengths.max() <= 10.0
    assert np.linalg.norm(transformed(inverse, moved) - inner, axis=1).mean() < 0.1


def test_the_error_is_measured_inside_the_brain():
    image = empty_image((20, 22, 24), (2, 2, 2))
    image[5:15, 5:15, 5:15] = 100.0
    truth = sitk.AffineTransform(3)
    truth.SetMatrix((1.1, 0, 0, 0, 1, 0, 0, 0, 1))
    # The brain's voxels lie at 10 to 28 mm along the first axis.
    assert mean_error(sitk.Transform(3, sitk.sitkIdentity), truth, image) == pytest.approx(1.9)
