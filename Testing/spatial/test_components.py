"""Connected parts of a mask."""

import numpy as np
import pytest

from SLSFGRLib.spatial.components import largest_component


def test_the_largest_part_is_found_and_edges_do_not_connect():
    mask = np.zeros((5, 6, 7), bool)
    mask[0, :2, :2] = True
    mask[1:4, 2:5, 2:6] = True
    found = largest_component(mask)
    assert found.dtype == bool
    assert found.sum() == 3 * 3 * 4
    assert found[1:4, 2:5, 2:6].all()


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 4)])
def test_of_no_voxels_none_are_left(shape):
    assert not largest_component(np.zeros(shape, bool)).any()
