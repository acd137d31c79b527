"""Where a field comes from, and how that of a network ends at its edges."""

import numpy as np
import pytest
import torch
from phantoms import balls_subject

from SLSFGRLib.registration import find_field
from SLSFGRLib.registration.find_field import EDGE_MM, field_between_people
from SLSFGRLib.spatial.affine import Affine


class GivenModel:
    """As far as a model is asked in ``fast``."""

    uses_instance_optimisation = False


class GivenSettings:
    """As far as they are asked of where a network's field is all."""

    mode, model = "fast", GivenModel()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_network_s_field_fades_to_zero_at_its_edges_over_the_same_millimetres(monkeypatch, factor):
    fixed = balls_subject()
    shape = [size // factor for size in fixed.grid.shape]
    monkeypatch.setattr(find_field, "network_field", lambda *given: torch.ones(1, 3, *shape))
    field, is_guided = field_between_people(fixed, fixed, Affine.identity(), GivenSettings(), [], lambda fraction: None)
    assert not is_guided
    assert field.shape == (1, 3, *shape)
    line = field[0, 1, shape[0] // 2, shape[1] // 2]
    distance = np.minimum(np.arange(shape[2]), np.arange(shape[2])[::-1]) * factor * fixed.grid.mean_spacing
    np.testing.assert_allclose(line, np.minimum(distance / EDGE_MM, 1.0), atol=1e-5)
    for axis in (2, 3, 4):
        assert not field.select(axis, 0).any()
        assert not field.select(axis, -1).any()
