import math

import pytest

from SLSFGRLib.training.loss_weighting import DynamicWeightAverage, FixedWeights


def after(*epochs, names=("a", "b"), temperature=2.0):
    balance = DynamicWeightAverage(names, temperature)
    for means in epochs:
        balance.end_epoch(dict(zip(names, means, strict=True)))
    return balance


def test_all_weights_are_one_for_two_epochs():
    assert after().weights() == {"a": 1.0, "b": 1.0}
    assert after((1.0, 5.0)).weights() == {"a": 1.0, "b": 1.0}
    assert after((1.0, 5.0), (0.5, 5.0)).weights() != {"a": 1.0, "b": 1.0}


def test_weights_are_those_of_the_paper():
    # Ratios 0.5 and 1: 2 exp(0.25) / (exp(0.25) + exp(0.5)) = 2 * 1.284025 / (1.284025 + 1.648721).
    assert after((1.0, 4.0), (0.5, 4.0)).weights() == pytest.approx({"a": 0.875647, "b": 1.124353}, abs=1e-6)
    # Ratios 1.5, 1 and 0.5, of which only the last two epochs tell.
    three = after((9.0, 9.0, 9.0), (2.0, 1.0, 4.0), (3.0, 1.0, 2.0), names=("a", "b", "c")).weights()
    assert three == pytest.approx({"a": 1.257687, "b": 0.979488, "c": 0.762826}, abs=1e-5)
    powers = [math.exp(ratio / 2.0) for ratio in (1.5, 1.0, 0.5)]
    assert list(three.values()) == pytest.approx([3.0 * power / sum(powers) for power in powers])


def test_a_task_that_falls_more_slowly_counts_more():
    weights = after((1.0, 1.0), (0.9, 0.3)).weights()
    assert weights["a"] > 1.0 > weights["b"]


@pytest.mark.parametrize("temperature", [0.5, 2.0, 20.0])
def test_weights_sum_to_the_number_of_tasks(temperature):
    balance = after((1.0, 2.0, 3.0), (0.3, 2.2, 2.9), names=("a", "b", "c"), temperature=temperature)
    assert sum(balance.weights().values()) == pytest.approx(3.0)


def test_weights_are_more_equal_at_a_higher_temperature():
    spreads = [
        max(weights.values()) - min(weights.values())
        for weights in (after((1.0, 1.0), (0.2, 1.0), temperature=t).weights() for t in (1.0, 2.0, 50.0))
    ]
    assert spreads[0] > spreads[1] > spreads[2] > 0
    assert spreads[2] < 0.02


def test_a_loss_that_rises_manyfold_counts_as_one_that_rises_fivefold():
    assert after((1.0, 1.0), (1e6, 1.0)).weights() == after((1.0, 1.0), (5.0, 1.0)).weights()
    # 2 exp(2.5) / (exp(2.5) + exp(0.5))
    assert after((0.0, 1.0), (1.0, 1.0)).weights()["a"] == pytest.approx(2.0 / (1.0 + math.exp(-2.0)))
    assert after((0.0, 1.0), (0.0, 1.0)).weights()["a"] == pytest.approx(2.0 / (1.0 + math.exp(0.5)))


def test_losses_that_are_no_tasks_are_not_noted():
    balance = DynamicWeightAverage(("a",))
    balance.end_epoch({"a": 1.0, "roughness": 3.0})
    assert balance.history == [{"a": 1.0}]


def test_fixed_weights_stay_one():
    balance = FixedWeights(("a", "b"))
    for means in ((1.0, 1.0), (0.1, 1.0), (0.1, 9.0)):
        balance.end_epoch({"a": means[0], "b": means[1], "roughness": 1.0})
        assert balance.weights() == {"a": 1.0, "b": 1.0}
    assert balance.history[-1] == {"a": 0.1, "b": 9.0}
