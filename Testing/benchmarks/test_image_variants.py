"""Images that the benchmarks change before they are registered or segmented."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import DIRECTIONS, empty_image, filled, positions

from benchmarks.image_variants import VARIANTS, resampled, t2_like
from benchmarks.segmentation import CONDITIONS
from SLSFGRLib.spatial.grid import grid_of_image


@pytest.fixture
def brain_with_labels():
    """A ball, one half of which is bright, and its labels, 1 and 2."""
    image = empty_image((40, 44, 48), (1.0, 1.0, 1.0))
    points = positions(image)
    ball = np.linalg.norm(points - points.mean((0, 1, 2)), axis=-1) < 14
    labels = np.where(ball, 1 + (points[..., 0] > points[..., 0].mean()), 0).astype(np.uint8)
    return filled(image, 100.0 * labels), filled(image, labels)


def middle(labels):
    return np.argwhere(sitk.GetArrayViewFromImage(labels)).mean(0)


def test_t2_like_image_reverses_the_order_of_the_tissues_and_keeps_the_background():
    t1 = np.zeros((40, 40, 40), np.float32)
    tissues = {"CSF": (10, 300.0), "grey matter": (20, 580.0), "white matter": (30, 940.0)}
    for first, value in tissues.values():
        t1[first : first + 8, 5:35, 5:35] = value
    t1[38, 5:35, 5:35] = 1040.0
    found = t2_like(t1)
    means = {name: found[t1 == value].mean() for name, (_, value) in tissues.items()}
    assert means["CSF"] > 1.5 * means["grey matter"] > 2 * means["white matter"] > 0
    assert found.dtype == np.int16
    assert not found[t1 == 0].any()
    assert found[t1 == 580.0].std() == pytest.approx(20.0, rel=0.05)
    np.testing.assert_array_equal(found, t2_like(t1))


@pytest.mark.parametrize("spacing", [2.0, 0.5])
def test_a_resampled_image_covers_the_same_box(spacing):
    image = empty_image((20, 30, 24), (1.0, 1.0, 1.0), DIRECTIONS["LAS"], (5.0, 60.0, -7.0)) + 3.0
    found = resampled(image, spacing)
    assert found.GetSize() == tuple(int(size / spacing) for size in image.GetSize())
    np.testing.assert_allclose(grid_of_image(found).centre, grid_of_image(image).centre, atol=1e-6)
    assert sitk.GetArrayViewFromImage(found)[2:-2, 2:-2, 2:-2] == pytest.approx(3.0)


def test_a_turned_head_keeps_its_labels(brain_with_labels):
    image, labels = VARIANTS["turned"](*brain_with_labels)
    found, expected = sitk.GetArrayFromImage(image) / 100.0, sitk.GetArrayFromImage(labels)
    assert np.abs(np.rint(found) - expected).mean() < 0.01
    assert expected.astype(bool).sum() == pytest.approx(
        sitk.GetArrayFromImage(brain_with_labels[1] > 0).sum(), rel=0.01
    )
    before, after = (middle(found == 2) - middle(found > 0) for found in (brain_with_labels[1], labels))
    cosine = before @ after / np.linalg.norm(after) ** 2
    # The axis lies at (0.5, 0.6, 0.62) to x: cos 30 + 0.25 / |axis|^2 (1 - cos 30).
    assert cosine == pytest.approx(np.cos(np.radians(30)) + 0.25 / 0.9944 * (1 - np.cos(np.radians(30))), abs=0.02)


def test_thick_slices_are_means_and_have_the_labels_of_their_middles(brain_with_labels):
    image, labels = brain_with_labels
    thick, middles = VARIANTS["thick"](image, labels)
    assert thick.GetSpacing() == middles.GetSpacing() == (1.0, 1.0, 5.0)
    assert thick.GetOrigin() == middles.GetOrigin()
    assert thick[20, 22, 4] == pytest.approx(np.mean([image[20, 22, k] for k in range(20, 25)]))
    expected = sitk.GetArrayViewFromImage(labels)[2 : 5 * thick.GetSize()[2] : 5]
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(middles), expected)
    assert len(np.unique(expected)) > 2
    again, same = VARIANTS["thick-at-1mm"](image, labels)
    assert same is labels
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(again), sitk.GetArrayViewFromImage(thick))


def test_each_condition_of_the_segmentation_has_its_variant():
    assert set(CONDITIONS) == set(VARIANTS)
