import pytest
import torch

from SLSFGRLib.losses.multiresolution import MultiResolutionObjective
from SLSFGRLib.networks import LiFanNetwork
from SLSFGRLib.networks.blocks import VELOCITY_BLUR
from SLSFGRLib.spatial.fields import integrate, jacobian_determinant, smooth

SHAPE = (16, 24, 20)
OBJECTIVE = MultiResolutionObjective.from_names("lncc", "gradient", 0.1, (0.3, 0.6, 1.0))


def images(count=2):
    noise = torch.rand(count, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    return smooth(noise, 1.5) * 3.0 - 1.0


def small_network(diffeomorphic=False, head_deviation=None):
    """A network of few channels; with ``head_deviation``, its heads are not zero."""
    torch.manual_seed(0)
    network = LiFanNetwork((4, 6, 8), diffeomorphic)
    if head_deviation is not None:
        for head in network.heads:
            torch.nn.init.normal_(head.weight, std=head_deviation)
    return network


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_fresh_network_moves_nothing(diffeomorphic):
    moving, fixed = images().split(1)
    for field in small_network(diffeomorphic)(moving, fixed):
        assert float(field.detach().abs().max()) == 0.0


def test_fields_are_at_a_quarter_half_and_full_resolution():
    shapes = [field.shape for field in small_network()(*images().split(1))]
    assert shapes == [(1, 3, 4, 6, 5), (1, 3, 8, 12, 10), (1, 3, 16, 24, 20)]


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_every_parameter_learns_after_one_step(diffeomorphic):
    moving, fixed = images().split(1)
    network = small_network(diffeomorphic)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        OBJECTIVE(network(moving, fixed), moving, fixed)["loss"].backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-8, name


def test_pairs_in_a_batch_do_not_touch_one_another():
    network = small_network(head_deviation=0.3)
    moving, fixed = images(4).split(2)
    together = network(moving, fixed)
    alone = [
        torch.cat(fields)
        for fields in zip(*(network(moving[i : i + 1], fixed[i : i + 1]) for i in range(2)), strict=True)
    ]
    for first, second in zip(together, alone, strict=True):
        assert first.abs().max() > 0.1
        assert (first[0] - first[1]).abs().max() > 0.1
        torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_field_depends_on_both_images_and_on_which_is_fixed():
    network = small_network(head_deviation=0.3)
    first, second, third = images(3).split(1)
    field = network(first, second)[-1]
    for moving, fixed in ((third, second), (first, third), (second, first)):
        assert (network(moving, fixed)[-1] - field).abs().max() > 0.1


def test_output_is_the_same_in_training_and_in_use():
    network = small_network(head_deviation=0.3)
    pair = images().split(1)
    training = network.train()(*pair)[-1]
    assert torch.equal(network.eval()(*pair)[-1], training)


def test_diffeomorphic_fields_do_not_fold_where_plain_ones_do():
    pair = images().split(1)
    with torch.no_grad():
        plain, diffeomorphic = (small_network(option, head_deviation=0.06)(*pair) for option in (False, True))
    for folding, unfolding in zip(plain, diffeomorphic, strict=True):
        assert float(jacobian_determinant(folding).min()) < 0
        assert float(jacobian_determinant(unfolding).min()) > 0


def test_diffeomorphic_network_integrates_what_the_plain_one_gives():
    pair = images().split(1)
    plain, diffeomorphic = (small_network(option, head_deviation=0.05)(*pair) for option in (False, True))
    for velocity, field in zip(plain, diffeomorphic, strict=True):
        torch.testing.assert_close(field, integrate(smooth(velocity, VELOCITY_BLUR)))
        assert (field - velocity).abs().max() > 1e-3
