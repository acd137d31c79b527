"""The drawing and the truth of benchmarks.affine, and its counting."""

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.affine import MAXIMUM_DEGREES, MAXIMUM_SHIFT_MM, centroids, summary, turned
from benchmarks.csv_tables import append, rows
from SLSFGRLib.spatial.affine import Affine


@pytest.fixture
def head():
    values = np.zeros((40, 50, 60), np.float32)
    values[10:20, 12:24, 14:30] = 1
    image = sitk.GetImageFromArray(values)
    image.SetOrigin((-20.0, 7.0, 3.0))
    return image


def test_a_turned_head_lies_where_the_pose_takes_it(head):
    versor = sitk.VersorTransform((0.6, 0.0, 0.8), np.deg2rad(MAXIMUM_DEGREES))
    centre = np.array([10.0, 30.0, 20.0])
    pose = Affine.about(np.reshape(versor.GetMatrix(), (3, 3)), centre, centre + np.array([0.0, MAXIMUM_SHIFT_MM, 0.0]))
    moved = turned(head, pose)
    before, after = centroids(sitk.Cast(head, sitk.sitkUInt8)), centroids(sitk.Cast(moved + 0.5, sitk.sitkUInt8))
    np.testing.assert_allclose(after[1], pose.apply(before[1][None])[0], atol=0.1)


def test_failures_are_counted():
    pairs = [{"stage_mm": "1.0", "affine_mm": "3.0"}, {"stage_mm": "2.0", "affine_mm": "30.0"}]
    assert summary(pairs).splitlines()[2:] == [
        "| before a deformation | 2 | 1.5 mm | 2.0 mm | 0 |",
        "| `--transform affine` | 2 | 16.5 mm | 30.0 mm | 1 |",
    ]


def test_a_table_grows_by_rows(tmp_path):
    table = tmp_path / "table.csv"
    assert rows(table) == []
    append(table, ("a", "b"), (1, "x"))
    append(table, ("a", "b"), (2, "y, z"))
    assert rows(table) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y, z"}]
