"""Transform files: small, read by other programs as they are, exact to 0.01 mm."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import AFFINE, DIRECTIONS, awkward_image

from SLSFGRLib.io.hdf5 import BLOCK, MOST_BLOCKS, write_hdf5
from SLSFGRLib.io.transforms import read_transform, write_transform
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field, inverse_of_affine_then_field
from SLSFGRLib.spatial.fields import smooth
from SLSFGRLib.spatial.grid import Grid, grid_of_image

ERROR_MM = 0.01


def rough_field(shape, amount=4.0):
    noise = smooth(torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(0)), 6.0)
    return noise * (amount / noise.std())


def distances(first, second, points):
    mapped = [np.array([transform.TransformPoint(point) for point in points]) for transform in (first, second)]
    return np.linalg.norm(mapped[0] - mapped[1], axis=1)


def points_in(grid, count=300):
    index = np.random.default_rng(0).uniform(-2, np.array(grid.shape) + 1, (count, 3))
    return (index @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]).tolist()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("compose", [affine_then_field, inverse_of_affine_then_field])
def test_both_transforms_come_back_to_a_hundredth_of_a_millimetre(tmp_path, direction, compose):
    grid = grid_of_image(awkward_image(direction))
    transform = compose(AFFINE, rough_field(grid.shape), grid)
    write_transform(transform, tmp_path / "transform.h5")
    # Points beyond the grid, too, where a field of ITK's is zero.
    errors = distances(transform, sitk.ReadTransform(str(tmp_path / "transform.h5")), points_in(grid))
    assert 0 < errors.max() < ERROR_MM


def test_file_of_a_large_field_is_small_and_exact_where_the_affine_part_stretches(tmp_path):
    grid = Grid.upright((70, 80, 90), 1.0)
    stretch = Affine.from_parts(np.diag([1.6, 1.0, 0.8]), [3.0, 0.0, 0.0])
    transform = affine_then_field(stretch, rough_field(grid.shape, amount=2.0), grid)
    write_transform(transform, tmp_path / "transform.h5")
    # ITK's takes 24 bytes for each voxel.
    assert (tmp_path / "transform.h5").stat().st_size < 24 * 70 * 80 * 90 / 6
    assert distances(transform, read_transform(tmp_path / "transform.h5"), points_in(grid)).max() < ERROR_MM


def test_displacements_too_large_for_16_bits_are_as_exact(tmp_path):
    grid = Grid.upright((12, 12, 12), 4.0)
    transform = affine_then_field(Affine.identity(), rough_field(grid.shape, amount=60.0), grid)
    write_transform(transform, tmp_path / "transform.h5")
    assert distances(transform, read_transform(tmp_path / "transform.h5"), points_in(grid)).max() < ERROR_MM


def test_files_as_itk_writes_them_are_read(tmp_path):
    grid = Grid.upright((8, 9, 10), 2.0)
    transform = affine_then_field(AFFINE, rough_field(grid.shape), grid)
    sitk.WriteTransform(transform, str(tmp_path / "old.h5"))
    assert distances(transform, read_transform(tmp_path / "old.h5"), points_in(grid)).max() < 1e-6


def test_linear_transforms_and_those_of_other_kinds_are_written_exactly(tmp_path):
    spline = sitk.BSplineTransformInitializer(sitk.Image(10, 10, 10, sitk.sitkUInt8), [4, 4, 4])
    spline.SetParameters(np.linspace(-1, 1, len(spline.GetParameters())).tolist())
    for transform in (AFFINE.to_itk(), spline):
        write_transform(transform, tmp_path / "transform.h5")
        assert sitk.ReadTransform(str(tmp_path / "transform.h5")).GetParameters() == transform.GetParameters()


def test_array_of_as_many_blocks_as_the_index_holds(tmp_path):
    # Written as a field of one row of voxels, since ITK reads parameters of transforms only.
    count = BLOCK * MOST_BLOCKS + 1
    numbers = np.arange(3 * count, dtype=np.float32).reshape(-1, 3) % 4093
    entries = {
        "TransformType": "DisplacementFieldTransform_double_3_3",
        "TransformFixedParameters": np.array([count, 1, 1, 0, 0, 0, 1, 1, 1, *np.eye(3).ravel()], dtype=float),
        "TransformParameters": numbers,
    }
    write_hdf5({"TransformGroup": {"0": entries}}, tmp_path / "long.h5")
    field = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(tmp_path / "long.h5"))).GetDisplacementField()
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(field).reshape(-1, 3), numbers)
