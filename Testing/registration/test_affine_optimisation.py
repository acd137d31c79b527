"""The affine alignment of two images by their similarity."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, filled, head_image, positions, rotation_about

from SLSFGRLib.preprocessing import prepare
from SLSFGRLib.registration.affine_optimisation import LAST_REFINEMENT, centre_of_mass, optimise_affine
from SLSFGRLib.spatial.affine import Affine

# 30 degrees, up to 15 % larger, 54 mm away.
STRETCH = np.diag([1.15, 1.1, 1.05])
TRUTH = Affine.from_parts(rotation_about((1.0, 0.6, -0.8), 30) @ STRETCH, (35.0, -40.0, 10.0))


def head_moved_by(affine):
    """Return the moving image that an affine transform brings to the head: ``moving(affine(p)) = head(p)``."""
    image = empty_image((96, 104, 100), (2.2, 2.2, 2.2), centre=affine.translation)
    return head_image(image, affine.inverse().matrix)[0]


def inverted(image):
    """Return the head in another contrast: dark tissue becomes bright, the darkest remains the background."""
    array = sitk.GetArrayFromImage(image)
    return filled(image, np.where(array < 15, array, 240 - 0.8 * array).astype(np.float32))


def mean_error(found, truth, head):
    """Return the mean distance in mm between where two transforms take the points of the head."""
    points = positions(head[0])[sitk.GetArrayViewFromImage(head[0]) > 20]
    return np.linalg.norm(found.apply(points) - truth.apply(points), axis=1).mean()


@pytest.fixture(scope="module")
def fixed(head):
    return prepare(head[0])


@pytest.mark.parametrize("contrast", ["the same", "inverted"])
def test_large_rotation_shift_and_stretch_are_recovered(head, fixed, contrast):
    moving = head_moved_by(TRUTH)
    moving = prepare(inverted(moving) if contrast == "inverted" else moving)
    assert mean_error(Affine.identity(), TRUTH, head) > 50.0
    assert mean_error(optimise_affine(fixed, moving), TRUTH, head) < 1.2


def test_start_that_is_far_beyond_the_search_is_refined(head, fixed):
    truth = Affine.from_parts(rotation_about((0.1, 0.2, 1.0), 150) @ STRETCH, (-60.0, 20.0, 80.0))
    start = Affine.from_parts(rotation_about((1, 1, 0), 6), (4.0, -3.0, 2.0)).then(truth)
    moving = prepare(head_moved_by(truth))
    assert mean_error(start, truth, head) > 6.0
    assert mean_error(optimise_affine(fixed, moving, start), truth, head) < 1.0


def test_last_refinement_removes_an_error_of_a_few_millimetres(head, fixed):
    start = Affine.from_parts(rotation_about((1, 1, 0), 3), (2.0, -1.0, 1.0)).then(TRUTH)
    moving = prepare(head_moved_by(TRUTH))
    assert mean_error(start, TRUTH, head) > 3.0
    assert mean_error(optimise_affine(fixed, moving, start, LAST_REFINEMENT), TRUTH, head) < 1.0


def test_image_on_itself_stays_where_it_is(head, fixed):
    assert mean_error(optimise_affine(fixed, fixed), Affine.identity(), head) < 0.3


def test_centre_of_mass_is_the_middle_of_the_tissue():
    array = np.zeros((20, 24, 22), np.float32)
    array[4:9, 6:13, 10:13] = np.linspace(50, 100, 5 * 7 * 3).reshape(5, 7, 3)
    image = filled(empty_image((22, 24, 20), (1, 1, 1), rotation_about((1, 1, 1), 20), (5, 6, 7)), array)
    expected = image.TransformContinuousIndexToPhysicalPoint((11.0, 9.0, 6.0))
    np.testing.assert_allclose(centre_of_mass(prepare(image, margin=3.0)), expected, atol=1e-3)
