import pytest
import torch

from SLSFGRLib.training.weight_averaging import DECAY, AveragedWeights


@pytest.fixture
def network():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    return network


def set_weight(network, value):
    network.weight.data.fill_(value)


def averaged(network, values):
    average = AveragedWeights(network)
    for value in values:
        set_weight(network, value)
        average.update(network)
    return average


def test_average_of_two_steps_is_that_of_hand_computed_numbers(network):
    # Decays 1 / 11 and 2 / 12 of weights 0, 1 and 3.
    first = 1.0 * 10 / 11
    expected = first * 2 / 12 + 3.0 * 10 / 12
    assert float(averaged(network, [1.0, 3.0]).weights["weight"]) == pytest.approx(expected)


def test_weights_that_jump_about_a_value_average_to_it(network):
    values = 2.0 + torch.randn(3000, generator=torch.Generator().manual_seed(0))
    deviation = (0.5 * (1.0 - DECAY)) ** 0.5
    assert float(averaged(network, values).weights["weight"]) == pytest.approx(2.0, abs=3 * deviation)


def test_network_has_the_average_for_a_while_and_then_its_own_weights_again(network):
    average = averaged(network, [1.0, 3.0])
    with average.in_place_of(network):
        assert torch.equal(network.weight.detach(), average.weights["weight"])
    assert float(network.weight.detach()) == 3.0


def test_average_goes_on_from_a_checkpoint_as_without_a_stop(network):
    values = [0.3, 1.0, -2.0, 4.0]
    unbroken = averaged(network, values)
    set_weight(network, 0.0)
    state = averaged(network, values[:2]).state_dict()
    resumed = AveragedWeights(network)
    resumed.load_state_dict(state)
    for value in values[2:]:
        set_weight(network, value)
        resumed.update(network)
    assert torch.equal(resumed.weights["weight"], unbroken.weights["weight"])
