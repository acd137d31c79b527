"""Volumes of the structures in a label map."""

import numpy as np
import pytest
from phantoms import empty_image, filled

from SLSFGRLib import volumes
from SLSFGRLib.io.label_table import read_label_table


def test_volumes_are_in_cubic_millimetres():
    array = np.zeros((4, 5, 6), np.uint16)
    array[0, 0, :3] = 17
    array[1, 2, :5] = 53
    found = {row.name: row.volume_mm3 for row in volumes(filled(empty_image((6, 5, 4), (0.5, 1.0, 3.0)), array))}
    assert found["Left hippocampus"] == pytest.approx(4.5)
    assert found["Right hippocampus"] == pytest.approx(7.5)
    assert found["Brain stem"] == 0.0
    assert len(found) == len(read_label_table())


def test_volumes_of_a_sheared_image_are_those_of_its_slanted_voxels():
    labels = filled(empty_image((6, 5, 4), (1.0, 1.0, 1.0)), np.full((4, 5, 6), 17, np.uint16))
    labels.SetDirection((1.0, 0.6, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0))
    found = {row.name: row.volume_mm3 for row in volumes(labels)}
    assert found["Left hippocampus"] == pytest.approx(0.8 * 6 * 5 * 4)
