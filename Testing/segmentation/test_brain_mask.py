import numpy as np
import pytest
import SimpleITK as sitk

from SLSFGRLib import brain_alone, brain_mask
from SLSFGRLib.segmentation.brain_mask import CLOSING_MM


@pytest.fixture(scope="module")
def labels():
    """Two halves of a box up to the image's border, with a gap between them and a hole in one."""
    array = np.zeros((8, 40, 40), np.uint16)
    array[2:, 5:35, 5:18], array[2:, 5:35, 22:35] = 3, 42
    array[4, 10:16, 8:14] = 0
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 4.0))
    image.SetOrigin((-20.0, 3.0, 9.0))
    return image


def test_mask_covers_gaps_and_holes_and_no_more(labels):
    assert 2 * CLOSING_MM > 4
    expected = np.zeros((8, 40, 40))
    expected[2:, 5:35, 5:35] = 1
    mask = brain_mask(labels)
    found = sitk.GetArrayFromImage(mask)
    # A closed gap may be rounded where it ends.
    assert (found != expected).sum() < 0.01 * expected.sum()
    assert found[:, 12:28, :].sum() == expected[:, 12:28, :].sum()
    assert mask.GetOrigin() == labels.GetOrigin()
    assert mask.GetPixelID() == sitk.sitkUInt8


def test_image_of_the_brain_keeps_its_type_and_is_zero_elsewhere(labels):
    image = sitk.Cast(sitk.Abs(labels), sitk.sitkInt16) * 0 - 7
    brain = brain_alone(image, labels)
    assert brain.GetPixelID() == sitk.sitkInt16
    inside = sitk.GetArrayFromImage(brain_mask(labels)) > 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(brain), np.where(inside, -7, 0))
