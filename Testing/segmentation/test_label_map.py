"""From a segmentation at 2 mm to a label map on the image's own grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from fake_models import networks_by_intensity
from phantoms import STORAGES, stored

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.label_map import label_map, on_image_grid
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.grid import grid_of_image

CHANNELS = (3, 5, 10)
NUMBERS = [read_label_table()[channel - 1].number for channel in CHANNELS]


@pytest.fixture(scope="module")
def subject(head):
    networks = networks_by_intensity({0: 0.0} | dict(zip(CHANNELS, (0.2, 0.45, 0.75), strict=True)))
    return Subject.from_image(head[0]).segmented(networks)


def test_label_map_has_the_image_grid_and_the_numbers_of_the_label_table(subject):
    labels = label_map(subject)
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(labels, get)() == pytest.approx(getattr(subject.image, get)())
    assert labels.GetPixelID() == sitk.sitkUInt16
    assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, *NUMBERS}


@pytest.mark.parametrize("storage", [STORAGES[7], STORAGES[45]])
def test_labels_of_the_same_voxels_in_another_order_are_not_interpolated(head, storage):
    channels = np.zeros(head[0].GetSize()[::-1], np.uint8)
    channels[20:30, 20:40, 10:12] = 3
    channels[30, 30, 11] = 5
    found = on_image_grid(channels, grid_of_image(head[0]), stored(head[0], *storage))
    expected = np.zeros_like(channels, dtype=np.uint16)
    expected[channels == 3], expected[channels == 5] = NUMBERS[0], NUMBERS[1]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.DICOMOrient(found, "LPS")), expected)


def test_labels_that_are_not_connected_to_the_brain_are_removed(head):
    channels = np.zeros(head[0].GetSize()[::-1], np.uint8)
    channels[20:30, 20:40, 10:20] = 3
    channels[25, 25, 12] = 0
    channels[60:63, 60:63, 60:63] = 5
    found = sitk.GetArrayFromImage(on_image_grid(channels, grid_of_image(head[0]), head[0]))
    assert (found == NUMBERS[0]).sum() == 10 * 20 * 10 - 1
    assert not (found == NUMBERS[1]).any()
