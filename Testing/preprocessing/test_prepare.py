import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import DIRECTIONS, STORAGES, empty_image, filled, head_at, head_image, moved_header, stored

from SLSFGRLib.errors import InputError
from SLSFGRLib.preprocessing import head_box, prepare
from SLSFGRLib.spatial.grid import voxel_positions

# Half the head's size in mm along the array axes, superior to left.
HALF_HEAD = np.array([74.0, 84.0, 68.0])


@pytest.fixture(scope="module")
def coarse_head():
    """The head at 4 mm: small enough to be stored in many ways."""
    return head_image(empty_image((42, 52, 46), (4, 4, 4), centre=(2.0, 3.0, -1.0)))[0]


def box_about_origin(image):
    """The head's box in mm from the head's own centre, (lower, upper) in array order."""
    lower, upper = head_box(image)
    first_face = np.array(image.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5)))[::-1]
    return lower + first_face, upper + first_face


def noisy(image, deviation=4.0):
    noise = np.random.default_rng(0).normal(0, deviation, image.GetSize()[::-1])
    return filled(image, np.abs(sitk.GetArrayFromImage(image) + noise).astype(np.float32))


def test_head_box_is_found_in_noise_and_an_off_centre_field_of_view():
    image = noisy(head_image(empty_image((70, 80, 64), (3, 3, 3), origin=(-90, -140, -84)))[0])
    lower, upper = box_about_origin(image)
    np.testing.assert_allclose(lower, -HALF_HEAD, atol=6)
    np.testing.assert_allclose(upper, HALF_HEAD, atol=6)


def test_head_box_leaves_out_what_is_not_connected_to_the_head():
    image = head_image(empty_image((90, 80, 64), (3, 3, 3), centre=(20, 0, 0)))[0]
    array = sitk.GetArrayFromImage(image)
    array[:20, :10, -10:] = 150.0
    lower, upper = box_about_origin(filled(image, array))
    np.testing.assert_allclose(lower, -HALF_HEAD, atol=6)
    np.testing.assert_allclose(upper, HALF_HEAD, atol=6)


@pytest.mark.parametrize("size", [(42, 52, 46), (84, 104, 31), (60, 52, 92)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_prepared_image_shows_the_head_where_it_is(size, direction):
    spacing = np.array([168, 208, 184]) / size
    image = head_image(empty_image(size, spacing, DIRECTIONS[direction], centre=(0, 0, 0)))[0]
    prepared = prepare(image, spacing=3.0, margin=0.0)
    points = voxel_positions(prepared.grid)

    def agreement(shift):
        return np.corrcoef(head_at(points + shift)[0].ravel(), prepared.tensor.ravel())[0, 1]

    right = agreement((0.0, 0.0, 0.0))
    assert right > 0.96
    assert right > max(agreement(shift) for shift in np.vstack([np.eye(3), -np.eye(3)]))


def test_tensor_is_the_same_from_any_of_the_48_storages(coarse_head):
    expected = prepare(coarse_head, spacing=4.0, multiple=4)
    for order, flips in STORAGES:
        again = prepare(stored(coarse_head, order, flips), spacing=4.0, multiple=4)
        np.testing.assert_array_equal(again.tensor, expected.tensor)
        np.testing.assert_allclose(again.grid.matrix, expected.grid.matrix, atol=1e-9)


def test_tensor_does_not_depend_on_the_position_of_the_head(coarse_head):
    expected = prepare(coarse_head, spacing=2.0)
    moved = moved_header(coarse_head, DIRECTIONS["oblique"], (300, -200, 1000))
    again = prepare(moved, spacing=2.0)
    np.testing.assert_allclose(again.tensor, expected.tensor, atol=1e-4)
    index = np.array([20.0, 30.0, 40.0, 1.0])
    there = DIRECTIONS["oblique"] @ (expected.grid.matrix @ index)[:3] + (300, -200, 1000)
    np.testing.assert_allclose((again.grid.matrix @ index)[:3], there, atol=1e-6)


@pytest.mark.parametrize("spacing", [(0.7, 2.0, 2.0), (2.0, 2.0, 2.0), (3.0, 1.5, 5.0)])
def test_image_is_prepared_at_1_mm_by_default_whatever_its_spacing(spacing):
    image = head_image(empty_image([round(168 / step) for step in spacing], spacing, centre=(0, 0, 0)))[0]
    grid = prepare(image).grid
    np.testing.assert_allclose(grid.spacing, 1.0)
    # The head with a margin of 8 mm, to the 4 mm of the voxels in which the head is found; sizes are multiples of 8.
    assert [size % 8 for size in grid.shape] == [0, 0, 0]
    half_size = np.asarray(grid.shape) / 2
    assert (half_size > HALF_HEAD + 8.0 - 4.0).all()
    assert (half_size < HALF_HEAD + 8.0 + 4.0 + 4.0).all()


def test_spacing_close_to_the_wanted_one_is_kept():
    image = head_image(empty_image((50, 60, 52), (3.2, 3.2, 3.2), centre=(0, 0, 0)))[0]
    np.testing.assert_allclose(prepare(image, spacing=3.0).grid.spacing, 3.2)
    np.testing.assert_allclose(prepare(image, spacing=2.0).grid.spacing, 2.0)


def test_intensities_run_from_background_0_to_brightest_tissue_1(coarse_head):
    tensor = prepare(coarse_head, spacing=4.0).tensor
    assert tensor.min() == 0.0
    assert tensor.max() == 1.0
    # Intensity 160 of white matter, on the scale that ends at the lesion's 220 or below.
    assert 160 / 220 - 0.02 < float(np.median(tensor[tensor > 0.65])) < 1.0


def test_intensities_do_not_depend_on_gain_and_offset(coarse_head):
    expected = prepare(coarse_head, spacing=4.0)
    again = prepare(coarse_head * 37.0 - 1000.0, spacing=4.0)
    np.testing.assert_allclose(again.tensor, expected.tensor, atol=1e-4)


@pytest.mark.parametrize("times", [10, 1e6])
def test_one_bright_voxel_changes_nothing_else(coarse_head, times):
    bright = sitk.Image(coarse_head)
    bright[20, 25, 23] = 220.0 * times
    expected, again = prepare(coarse_head, spacing=4.0), prepare(bright, spacing=4.0)
    assert again.grid.shape == expected.grid.shape
    difference = (again.tensor - expected.tensor).abs().flatten()
    assert float(difference.sort().values[-2]) < 0.01


@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_sizes_are_multiples_and_hold_the_head_and_its_margin(coarse_head, multiple):
    grid = prepare(coarse_head, spacing=4.0, margin=10.0, multiple=multiple).grid
    assert [size % multiple for size in grid.shape] == [0, 0, 0]
    half_size = np.asarray(grid.shape) * 4.0 / 2
    reach = half_size - np.abs(grid.centre[::-1])
    assert (reach > HALF_HEAD + 10.0 - 6.0).all()
    assert (half_size < HALF_HEAD + 10.0 + 6.0 + 2.0 * multiple).all()


def test_margin_beyond_the_edge_of_the_image_is_padded_with_its_edge():
    # The field of view ends inside the head, as at the neck.
    image = head_image(empty_image((42, 52, 30), (4, 4, 4), origin=(-84, -104, -40)))[0]
    prepared = prepare(image, spacing=4.0, margin=20.0)
    above_edge = int(np.ceil((-40.0 - prepared.grid.matrix[2, 3]) / 4.0))
    assert above_edge >= 4
    tensor = prepared.tensor[0, 0].numpy()
    assert tensor[above_edge].max() > 0.4
    for row in range(above_edge):
        np.testing.assert_array_equal(tensor[row], tensor[above_edge])


def test_tiny_image_is_prepared():
    array = np.random.default_rng(0).random((8, 8, 8), dtype=np.float32)
    prepared = prepare(filled(empty_image((8, 8, 8), (1, 1, 1)), array), margin=0.0)
    assert prepared.tensor.min() == 0.0
    assert prepared.tensor.max() == 1.0


def test_unusable_image_is_refused_by_name():
    with pytest.raises(InputError, match="the fixed image: every voxel has the value 0"):
        prepare(empty_image(), "the fixed image")
    with pytest.raises(InputError, match="the moving image: has 2 axes"):
        prepare(sitk.Image([20, 20], sitk.sitkFloat32), "the moving image")
