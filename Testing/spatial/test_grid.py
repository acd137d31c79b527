import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import AFFINE, DIRECTIONS, ORIGIN, STORAGES, TURN, awkward_image, empty_image, filled, positions, stored

from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.grid import (
    Grid,
    canonical_image,
    displacement_image,
    grid_of_image,
    image_from_array,
    mapped_points,
    voxel_positions,
)


def random_image(seed=0, size=(9, 12, 10), direction=None):
    header = empty_image(size, (0.9, 1.3, 2.7), direction, ORIGIN)
    return filled(header, np.random.default_rng(seed).random(size[::-1], dtype=np.float32))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_grid_puts_every_index_where_simpleitk_puts_it(direction):
    image = awkward_image(direction)
    grid = grid_of_image(image)
    for index in np.random.default_rng(0).uniform(-3, 15, (20, 3)):
        expected = image.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
        np.testing.assert_allclose((grid.matrix @ [*index, 1.0])[:3], expected, atol=1e-10)


def test_upright_grid_is_that_of_a_canonical_image():
    image = sitk.Image(5, 6, 7, sitk.sitkUInt8)
    image.SetSpacing((2.0, 2.0, 2.0))
    np.testing.assert_array_equal(Grid.upright((7, 6, 5), 2.0).matrix, grid_of_image(image).matrix)
    assert Grid.upright((7, 6, 5), 2.0).shape == grid_of_image(image).shape
    np.testing.assert_allclose(Grid.upright((7, 6, 5), 2.0, (3.0, -4.0, 5.0)).centre, (3.0, -4.0, 5.0))


def test_spacing_and_centre_are_in_array_order():
    grid = grid_of_image(awkward_image("oblique"))
    np.testing.assert_allclose(grid.spacing, (2.7, 1.3, 0.9))
    assert grid.mean_spacing == pytest.approx((2.7 + 1.3 + 0.9) / 3)
    middle = awkward_image("oblique").TransformContinuousIndexToPhysicalPoint((4.0, 5.5, 4.5))
    np.testing.assert_allclose(grid.centre, middle)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_image_from_array_restores_the_header(direction):
    image = awkward_image(direction)
    again = image_from_array(np.zeros((10, 12, 9), np.float32), grid_of_image(image))
    assert again.GetSize() == image.GetSize()
    np.testing.assert_allclose(again.GetOrigin(), image.GetOrigin())
    np.testing.assert_allclose(again.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(again.GetDirection(), image.GetDirection(), atol=1e-12)


def test_cropped_grid_begins_at_the_given_voxel():
    image = awkward_image("oblique left-handed")
    cropped = grid_of_image(image).cropped((-2, 3, 4), (5, 6, 7))
    assert cropped.shape == (5, 6, 7)
    np.testing.assert_allclose(cropped.matrix[:3, 3], image.TransformContinuousIndexToPhysicalPoint((4.0, 3.0, -2.0)))
    np.testing.assert_allclose(cropped.matrix[:3, :3], grid_of_image(image).matrix[:3, :3])


def test_resized_grid_keeps_its_outer_faces():
    grid = grid_of_image(awkward_image("oblique"))
    resized = grid.resized((4, 30, 3))
    for face in ((0, 0, 0), (1, 0, 1), (1, 1, 1)):
        old = grid.matrix @ [*(np.array(face) * grid.shape - 0.5), 1.0]
        new = resized.matrix @ [*(np.array(face) * resized.shape - 0.5), 1.0]
        np.testing.assert_allclose(new, old, atol=1e-10)


def test_coarsened_grid_has_its_voxels_in_the_middle_of_whole_blocks():
    image = awkward_image("oblique")
    coarse = grid_of_image(image).coarsened(4)
    assert coarse.shape == (2, 3, 2)
    np.testing.assert_allclose(coarse.matrix[:3, 3], image.TransformContinuousIndexToPhysicalPoint((1.5, 1.5, 1.5)))
    second = (coarse.matrix @ [1.0, 2.0, 1.0, 1.0])[:3]
    np.testing.assert_allclose(second, image.TransformContinuousIndexToPhysicalPoint((5.5, 9.5, 5.5)))


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["straight", "oblique"])
def test_canonical_image_is_the_same_from_any_of_the_48_storages(direction):
    image = random_image(direction=direction)
    expected = sitk.GetArrayFromImage(image)
    for order, flips in STORAGES:
        again = canonical_image(stored(image, order, flips))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(again), expected)
        np.testing.assert_allclose(again.GetOrigin(), image.GetOrigin(), atol=1e-9)
        np.testing.assert_allclose(again.GetDirection(), image.GetDirection(), atol=1e-12)


def test_canonical_axes_run_towards_left_posterior_superior():
    image = canonical_image(stored(random_image(direction=TURN), (2, 0, 1), (True, False, True)))
    assert (np.diag(np.reshape(image.GetDirection(), (3, 3))) > 0.8).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_displacement_image_points_along_the_axes_of_the_grid(direction):
    image = awkward_image(direction)
    field = torch.zeros(1, 3, 10, 12, 9)
    field[0, :, 4, 5, 6] = torch.tensor([1.0, 2.0, -3.0])
    vectors = displacement_image(field, grid_of_image(image))
    start = np.array(image.TransformIndexToPhysicalPoint((6, 5, 4)))
    end = np.array(image.TransformIndexToPhysicalPoint((6 - 3, 5 + 2, 4 + 1)))
    np.testing.assert_allclose(vectors[6, 5, 4], end - start, atol=1e-6)
    assert vectors[0, 0, 0] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_mapped_points_are_where_the_transform_takes_each_voxel(direction):
    image = awkward_image(direction)
    grid = grid_of_image(image)
    field = torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    transform = affine_then_field(AFFINE, field, grid)
    mapped = mapped_points(transform, grid)
    np.testing.assert_allclose(voxel_positions(grid), positions(image), atol=1e-9)
    for k, j, i in ((0, 0, 0), (4, 5, 6), (9, 11, 8)):
        expected = transform.TransformPoint(image.TransformIndexToPhysicalPoint((i, j, k)))
        np.testing.assert_allclose(mapped[k, j, i], expected, atol=1e-9)
