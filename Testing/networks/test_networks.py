"""What every network promises."""

import pytest
import torch

from SLSFGRLib.networks import CompositeNetwork, GlobalNetwork, LiFanNetwork, LocalNetwork, SLSFGRNetwork
from SLSFGRLib.spatial.fields import jacobian_determinant, resize_field, smooth, warp

SHAPE = (16, 24, 16)
LOCAL = {"channels": (4, 6, 5), "matching_channels": 4}
NETWORKS = {
    "li_fan": lambda: LiFanNetwork((4, 6, 8)),
    "li_fan, diffeomorphic": lambda: LiFanNetwork((4, 6, 8), diffeomorphic=True),
    "li_fan, forces": lambda: LiFanNetwork((4, 6, 8), diffeomorphic=True, forces=True),
    "sl_sfgr": lambda: SLSFGRNetwork(3, (4, 6, 8, 8), 4),
    "hu": lambda: CompositeNetwork((4, 6, 8), **LOCAL),
    "hu_local": lambda: LocalNetwork(**LOCAL),
    "hu_global": lambda: GlobalNetwork((4, 6, 8)),
}
# The resolutions of the fields, as downsampling factors.
FACTORS = dict.fromkeys(("li_fan", "li_fan, diffeomorphic", "li_fan, forces"), (4, 2, 1))
FACTORS |= {"sl_sfgr": (8, 4, 2), "hu": (2, 2)}
# With these spreads of the weights that start at zero, fields are large.
DIFFEOMORPHIC = {"li_fan, diffeomorphic": 0.2, "li_fan, forces": 0.1, "sl_sfgr": 1.0, "hu_local": 0.2}


def images(count=2, shape=SHAPE):
    noise = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(0))
    return (4.0 * smooth(noise, 1.5) - 1.5).clamp(0, 1)


def network(name, spread=None):
    """A small network; with ``spread`` the parameters that start at zero are random."""
    torch.manual_seed(0)
    made = NETWORKS[name]()
    if spread is not None:
        for parameter in made.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=spread)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_fresh_network_moves_nothing(name):
    fields = network(name)(*images().split(1))
    factors = FACTORS.get(name, (2,))
    assert [field.shape for field in fields] == [(1, 3, *(size // factor for size in SHAPE)) for factor in factors]
    assert not any(field.any() for field in fields)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name):
    moving, fixed = images().split(1)
    made = network(name)
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    # What starts at zero lets no gradient through to what lies before it; up to three layers wait for one another.
    for _ in range(4):
        optimiser.zero_grad()
        fields = made(moving, fixed)
        loss = sum((warp(moving, resize_field(field, SHAPE)) - fixed).square().mean() for field in fields)
        if made.segmenter is not None:
            loss = loss - made.segment(moving).log_softmax(1)[:, 1].mean()
        loss.backward()
        optimiser.step()
    for part, parameter in made.named_parameters():
        assert parameter.grad.isfinite().all(), part
        assert parameter.grad.any(), part


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_of_a_batch_do_not_touch_one_another(name):
    made = network(name, spread=0.5)
    moving, fixed = images(4).split(2)
    together = made(moving, fixed)
    for number in range(2):
        one = slice(number, number + 1)
        for field, alone in zip(together, made(moving[one], fixed[one]), strict=True):
            torch.testing.assert_close(field[one], alone, atol=1e-3, rtol=1e-3)
    assert (together[-1][0] - together[-1][1]).abs().max() > 0.05


@torch.no_grad()
@pytest.mark.parametrize("name", DIFFEOMORPHIC)
def test_large_fields_do_not_fold(name):
    for field in network(name, DIFFEOMORPHIC[name])(*images(shape=(32, 32, 40)).split(1)):
        assert float(field.abs().max()) > 0.5
        assert float(jacobian_determinant(field).min()) > 0.0
