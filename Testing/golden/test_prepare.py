"""The MNI152 template as the network and the registration see it."""

import numpy as np
import pytest
import torch

from golden.measures import block_means, brighter_on_the_left
from golden.store import stored
from SLSFGRLib.preprocessing import prepare


@pytest.fixture(scope="module")
def brain(pair):
    return brighter_on_the_left(pair.fixed)


@pytest.fixture(scope="module")
def prepared(brain):
    return prepare(brain)


def test_shape_and_grid(prepared):
    assert tuple(prepared.tensor.shape) == (1, 1, 176, 200, 168)
    assert prepared.tensor.dtype == torch.float32
    # Array axes run to superior, posterior and left; points are (x, y, z) in LPS mm.
    expected = [[0, 0, 1, -84], [0, 1, 0, -82], [1, 0, 0, -82], [0, 0, 0, 1]]
    np.testing.assert_allclose(prepared.grid.matrix, expected, atol=1e-6)


def test_intensities_are_the_stored_ones(prepared):
    means = block_means(prepared.tensor[0, 0].numpy())
    np.testing.assert_allclose(means, stored("prepared"), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_stored_intensities_tell_an_axis_from_its_flip(axis):
    means = stored("prepared")
    assert np.abs(means - np.flip(means, axis)).max() > 0.02
