import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import DIRECTIONS, empty_image, filled, positions, rotation_about, stored

from SLSFGRLib.spatial.label_resampling import warp_labels

SIZE = (14, 16, 12)


def blocky_labels(direction=None, kind=np.uint8, values=(0, 1, 2, 5), size=SIZE):
    """Random blocks of 2 x 2 x 2 voxels, and background all around them."""
    rng = np.random.default_rng(0)
    blocks = rng.choice(np.array(values, kind), [count // 2 for count in size[::-1]])
    array = np.kron(blocks, np.ones((2, 2, 2), kind)).astype(kind)
    array[[0, -1]] = array[:, [0, -1]] = array[:, :, [0, -1]] = 0
    return filled(empty_image(size, (0.8, 1.1, 2.3), direction, (10, -20, 30)), array)


def turn_about_the_middle(image, degrees=17.0):
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((1.07 * rotation_about((1, 2, -1), degrees)).flatten().tolist())
    transform.SetCenter(image.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in image.GetSize()]))
    transform.SetTranslation((0.37, -0.21, 0.53))
    return transform


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(True, False, False), (True, False, True)])
def test_labels_stored_another_way_land_on_the_same_voxels(direction, order, flips):
    labels = blocky_labels(DIRECTIONS[direction])
    warped = warp_labels(stored(labels, order, flips), sitk.Transform(3, sitk.sitkIdentity), labels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(warped), sitk.GetArrayFromImage(labels))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_integer_shift_moves_labels_exactly(direction):
    labels = blocky_labels(DIRECTIONS[direction])
    step = np.subtract(labels.TransformIndexToPhysicalPoint((2, -1, 3)), labels.GetOrigin())
    warped = warp_labels(labels, sitk.TranslationTransform(3, step.tolist()), labels)
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[:-3, 1:, :-2] = sitk.GetArrayFromImage(labels)[3:, :-1, 2:]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(warped), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_result_is_that_of_itk_where_one_label_clearly_wins(direction):
    labels = blocky_labels(DIRECTIONS[direction])
    reference = empty_image(
        (17, 13, 15), (0.9, 1.3, 1.9), DIRECTIONS["oblique"], centre=positions(labels).mean((0, 1, 2))
    )
    transform = turn_about_the_middle(labels)
    warped = sitk.GetArrayFromImage(warp_labels(labels, transform, reference))
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, reference, transform, sitk.sitkLabelLinear, 0))
    shares = np.stack(
        [
            sitk.GetArrayFromImage(
                sitk.Resample(sitk.Cast(labels == value, sitk.sitkFloat32), reference, transform, sitk.sitkLinear)
            )
            for value in (0, 1, 2, 5)
        ]
    )
    first, second = np.sort(shares, axis=0)[[-1, -2]]
    clear = (first > second + 1e-4) & (shares.sum(0) > 0.999)
    assert clear.mean() > 0.3
    assert len(np.unique(expected[clear])) == 4
    np.testing.assert_array_equal(warped[clear], expected[clear])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32])
def test_no_label_is_invented_and_the_pixel_type_is_kept(kind):
    values = (0, 3, 90, 101)
    labels = blocky_labels(kind=kind, values=values)
    warped = sitk.GetArrayFromImage(warp_labels(labels, turn_about_the_middle(labels, 40), labels))
    assert set(np.unique(warped)) == set(values)
    assert warped.dtype == kind


def test_several_votes_for_one_label_beat_the_nearest_voxel():
    array = np.zeros((8, 8, 8), np.uint8)
    array[3, 3, 3] = 1
    array[3, 3, 4] = array[3, 4, 3] = 2
    labels = filled(empty_image((8, 8, 8), (1, 1, 1)), array)
    # 0.4 of the way along two axes: 0.36 for label 1, 0.24 twice for label 2, 0.16 for the background.
    warped = warp_labels(labels, sitk.TranslationTransform(3, (0.4, 0.4, 0.0)), labels)
    assert warped[3, 3, 3] == 2
    assert warp_labels(labels, sitk.TranslationTransform(3, (0.1, 0.1, 0.0)), labels)[3, 3, 3] == 1


def test_tie_goes_to_the_smaller_label():
    array = np.zeros((8, 8, 8), np.uint8)
    array[:, :, :4], array[:, :, 4:] = 7, 4
    labels = filled(empty_image((8, 8, 8), (1, 1, 1)), array)
    for shift, expected in ((0.5, 4), (0.45, 7), (0.55, 4)):
        assert warp_labels(labels, sitk.TranslationTransform(3, (shift, 0.0, 0.0)), labels)[3, 3, 3] == expected


def test_outside_the_label_map_is_background():
    labels = sitk.Image([8, 8, 8], sitk.sitkUInt8) + 3
    warped = sitk.GetArrayFromImage(warp_labels(labels, sitk.TranslationTransform(3, (3.0, 0.0, -100.0)), labels))
    assert (warped == 0).all()
    warped = sitk.GetArrayFromImage(warp_labels(labels, sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), labels))
    assert (warped[:, :, :5] == 3).all()
    assert (warped[:, :, 5:] == 0).all()
