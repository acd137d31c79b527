"""What each peer writes, read as one transform."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import DIRECTIONS, affine_matrix, empty_image, positions, rotation_about, transformed

from benchmarks.score import read_transform
from benchmarks.systems import SYSTEMS
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.grid import grid_of_image

POINTS = np.random.default_rng(3).uniform(-12, 12, (20, 3))
LINEAR = rotation_about((1, 2, -1), 9) @ np.diag([1.1, 0.95, 1.02])
SHIFT = np.array([4.0, -3.0, 2.0])


@pytest.fixture(params=DIRECTIONS)
def fixed_image(request):
    return empty_image((24, 20, 22), (2.0, 2.5, 2.2), DIRECTIONS[request.param], centre=(1.0, -2.0, 3.0))


def bending(points):
    """Return a smooth displacement in mm, nearly linear between voxels, at LPS points."""
    return np.stack([0.1 * points[..., 1], 1.0 + 0.05 * points[..., 2], -0.08 * points[..., 0]], -1)


def expected(points):
    return (points + bending(points)) @ LINEAR.T + SHIFT


def write_field(path, image):
    field = sitk.GetImageFromArray(bending(positions(image)).astype(np.float32), isVector=True)
    field.CopyInformation(image)
    sitk.WriteImage(field, str(path))


def write_greedy_matrix(path):
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.savetxt(path, turn @ affine_matrix(LINEAR, SHIFT) @ turn)


def test_what_ants_writes_maps_points_through_field_then_affine(fixed_image, tmp_path):
    write_field(tmp_path / "1Warp.nii.gz", fixed_image)
    affine = Affine.from_parts(LINEAR, SHIFT).to_itk()
    sitk.WriteTransform(affine, str(tmp_path / "0GenericAffine.mat"))
    found = transformed(read_transform("ants", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_what_greedy_writes_maps_points_through_field_then_ras_matrix(fixed_image, tmp_path):
    write_field(tmp_path / "warp.nii.gz", fixed_image)
    write_greedy_matrix(tmp_path / "affine.mat")
    found = transformed(read_transform("greedy", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_what_fireants_writes_is_the_whole_transform(fixed_image, tmp_path):
    write_field(tmp_path / "warp.nii.gz", fixed_image)
    found = transformed(read_transform("fireants", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, POINTS + bending(POINTS), atol=1e-4)


def test_voxels_of_convex_adam_become_millimetres_of_any_grid(fixed_image, tmp_path):
    matrix = grid_of_image(fixed_image).matrix[:3, :3]
    voxels = bending(positions(fixed_image)) @ np.linalg.inv(matrix).T
    np.save(tmp_path / "displacements.npy", voxels)
    write_greedy_matrix(tmp_path / "affine.mat")
    sitk.WriteImage(fixed_image, str(tmp_path / "fixed.nii.gz"))
    found = transformed(read_transform("convex_adam", tmp_path, tmp_path / "fixed.nii.gz"), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_voxels_of_lapirn_are_those_of_its_own_grid(fixed_image, tmp_path):
    matrix = grid_of_image(fixed_image).matrix[:3, :3]
    np.save(tmp_path / "displacements.npy", bending(positions(fixed_image)) @ np.linalg.inv(matrix).T)
    write_greedy_matrix(tmp_path / "affine.mat")
    sitk.WriteImage(fixed_image, str(tmp_path / "fixed.nii.gz"))
    found = transformed(read_transform("lapirn", tmp_path, tmp_path / "another_grid.nii.gz"), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_affine_part_of_our_own_transform_is_read_alone(tmp_path):
    grid = grid_of_image(empty_image((24, 20, 22), (2.0, 2.5, 2.2)))
    field = torch.full((1, 3, *grid.shape), 2.0)
    transform = affine_then_field(Affine.from_parts(LINEAR, SHIFT), field, grid)
    sitk.WriteTransform(transform, str(tmp_path / "transform.h5"))
    found = transformed(read_transform("affine", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, POINTS @ LINEAR.T + SHIFT, atol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_has_a_reader(name, tmp_path):
    # An unknown reader would raise a KeyError; a known one finds no file.
    with pytest.raises((RuntimeError, OSError)):
        read_transform(SYSTEMS[name].reader, tmp_path, tmp_path)
