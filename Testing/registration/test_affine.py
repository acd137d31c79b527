import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine_matrix, empty_image, filled, head_image, positions, rotation_about

from SLSFGRLib.preprocessing import prepare
from SLSFGRLib.registration.affine import align, centre_of_mass

# 30 degrees, up to 15 % larger, 54 mm away.
STRETCH = np.diag([1.15, 1.1, 1.05])
MATRIX = affine_matrix(rotation_about((1.0, 0.6, -0.8), 30) @ STRETCH, (35.0, -40.0, 10.0))


def head_moved_by(matrix):
    """The moving image that ``matrix`` brings to the head: ``moving(matrix p) = head(p)``."""
    image = empty_image((96, 104, 100), (2.2, 2.2, 2.2), centre=matrix[:3, 3])
    return head_image(image, np.linalg.inv(matrix))[0]


def inverted(image):
    """Another contrast of the same head: dark tissue becomes bright, the darkest remains the background."""
    array = sitk.GetArrayFromImage(image)
    return filled(image, np.where(array < 15, array, 240 - 0.8 * array).astype(np.float32))


def mean_error(found, true, head):
    """Mean distance in mm between where two matrices take the points of the head."""
    points = positions(head[0])[sitk.GetArrayViewFromImage(head[0]) > 20]
    difference = found - true
    return np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean()


@pytest.fixture(scope="module")
def fixed(head):
    return prepare(head[0], spacing=2.0)


@pytest.mark.parametrize("contrast", ["the same", "inverted"])
def test_large_rotation_shift_and_stretch_are_recovered(head, fixed, contrast):
    moving = head_moved_by(MATRIX)
    moving = prepare(inverted(moving) if contrast == "inverted" else moving, spacing=2.0)
    assert mean_error(np.eye(4), MATRIX, head) > 50.0
    assert mean_error(align(fixed, moving), MATRIX, head) < 1.2


def test_start_that_is_far_beyond_the_search_is_refined(head, fixed):
    matrix = affine_matrix(rotation_about((0.1, 0.2, 1.0), 150) @ STRETCH, (-60.0, 20.0, 80.0))
    start = matrix @ affine_matrix(rotation_about((1, 1, 0), 6), (4.0, -3.0, 2.0))
    moving = prepare(head_moved_by(matrix), spacing=2.0)
    assert mean_error(start, matrix, head) > 6.0
    assert mean_error(align(fixed, moving, start), matrix, head) < 1.0


def test_image_on_itself_stays_where_it_is(head, fixed):
    assert mean_error(align(fixed, fixed), np.eye(4), head) < 0.3


def test_centre_of_mass_is_the_middle_of_the_tissue():
    array = np.zeros((20, 24, 22), np.float32)
    array[4:9, 6:13, 10:13] = np.linspace(50, 100, 5 * 7 * 3).reshape(5, 7, 3)
    image = filled(empty_image((22, 24, 20), (1, 1, 1), rotation_about((1, 1, 1), 20), (5, 6, 7)), array)
    expected = image.TransformContinuousIndexToPhysicalPoint((11.0, 9.0, 6.0))
    np.testing.assert_allclose(centre_of_mass(prepare(image, margin=3.0)), expected, atol=1e-3)
