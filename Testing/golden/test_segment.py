"""The segmentation of the MNI152 template, against the template's own tissue maps and stored volumes."""

import numpy as np
import pytest
import SimpleITK as sitk

from golden.measures import tissue_dice
from SLSFGRLib import segment, volumes

# FreeSurfer's numbers of the left structure and of its counterpart on the right.
SIDES = {2: 41, 3: 42, 4: 43, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 26: 58, 28: 60}
MIDLINE = (14, 15, 16, 24)
VOLUMES_ML = {
    2: 290.954, 3: 380.424, 4: 12.048, 7: 17.625, 8: 70.572, 10: 10.133, 11: 5.141, 12: 7.785, 13: 2.528, 14: 1.669,
    15: 3.651, 16: 26.372, 17: 4.814, 18: 1.980, 24: 195.684, 26: 0.943, 28: 6.549, 41: 291.056, 42: 380.943,
    43: 12.247, 46: 17.650, 47: 70.544, 49: 10.194, 50: 5.164, 51: 7.803, 52: 2.508, 53: 4.813, 54: 1.955, 58: 0.935,
    60: 6.743,
}  # fmt: skip


@pytest.fixture(scope="module")
def labels(pair):
    return segment(pair.fixed)


def test_labels_lie_on_the_images_own_grid(labels, pair):
    assert labels.GetPixelID() == sitk.sitkUInt16
    for attribute in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(labels, attribute)() == getattr(pair.fixed, attribute)()


def test_every_structure_has_its_number_and_there_is_no_other(labels):
    found = set(np.unique(sitk.GetArrayViewFromImage(labels)).tolist())
    assert found == {0, *SIDES, *SIDES.values(), *MIDLINE}


def test_grey_and_white_matter_lie_where_the_templates_maps_have_them(labels, pair):
    # Measured: 0.897 and 0.953.
    grey, white = tissue_dice(labels, pair.fixed_labels)
    assert grey > 0.887
    assert white > 0.943


def test_left_structures_lie_on_the_left(labels):
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    for left, right in SIDES.items():
        places = np.array([shapes.GetCentroid(number) for number in (left, right)])
        assert places[0, 0] > 5.0
        # The template is symmetric.
        np.testing.assert_allclose(places[1], places[0] * (-1, 1, 1), atol=1.0)
    assert all(abs(shapes.GetCentroid(number)[0]) < 1.0 for number in MIDLINE)


def test_volumes_are_the_stored_ones(labels):
    found = {structure.number: structure.volume_mm3 / 1000.0 for structure in volumes(labels)}
    assert found == pytest.approx(VOLUMES_ML, rel=0.02)


def test_how_the_axes_are_stored_makes_no_difference(labels, pair):
    def stored_otherwise(image):
        return sitk.Flip(sitk.PermuteAxes(image, (2, 0, 1)), (True, False, True))

    found = segment(stored_otherwise(pair.fixed))
    expected = stored_otherwise(labels)
    assert np.array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected))
