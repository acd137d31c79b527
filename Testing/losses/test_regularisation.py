import pytest
import torch

from SLSFGRLib.losses.regularisation import PENALTIES, bending_energy, gradient_energy, total_variation
from SLSFGRLib.spatial.fields import voxel_grid

SHAPE = (7, 8, 9)
MATRIX = torch.tensor([[0.1, -0.4, 0.0], [0.2, 0.3, 0.05], [0.0, 0.0, -0.6]])


def linear_field():
    return torch.einsum("rc,bcdhw->brdhw", MATRIX, voxel_grid(SHAPE)) + 3.0


def field_of(first_channel):
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0] = first_channel
    return field


@pytest.mark.parametrize("name", PENALTIES)
def test_shift_costs_nothing(name):
    assert float(PENALTIES[name](torch.full((1, 3, *SHAPE), 2.5))) == 0.0


def test_total_variation_is_the_mean_absolute_slope():
    assert float(total_variation(linear_field())) == pytest.approx(float(MATRIX.abs().mean()), abs=1e-6)


def test_gradient_energy_is_the_mean_squared_slope():
    assert float(gradient_energy(linear_field())) == pytest.approx(float(MATRIX.square().mean()), abs=1e-6)


def test_bending_of_an_affine_field_is_0():
    assert float(bending_energy(linear_field())) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize(
    ("power", "expected"),
    [((2, 0, 0), 4.0), ((0, 2, 0), 4.0), ((0, 0, 2), 4.0), ((1, 1, 0), 2.0), ((1, 0, 1), 2.0), ((0, 1, 1), 2.0)],
)
def test_bending_counts_mixed_derivatives_twice(power, expected):
    # In one of three channels: x^2 has the second derivative 2; x y has the mixed derivative 1, twice.
    index = voxel_grid(SHAPE)[0]
    monomial = index[0] ** power[0] * index[1] ** power[1] * index[2] ** power[2]
    assert float(bending_energy(field_of(monomial))) == pytest.approx(expected / 3.0, rel=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_batch_counts_as_the_mean_of_its_fields(name):
    fields = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0]).view(
        2, 1, 1, 1, 1
    )
    alone = [float(PENALTIES[name](fields[i : i + 1])) for i in range(2)]
    assert float(PENALTIES[name](fields)) == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert alone[1] > 2 * alone[0]
