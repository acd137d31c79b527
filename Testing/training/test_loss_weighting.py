"""Dynamic weight averaging of several losses."""

import math

import pytest

from SLSFGRLib.training.loss_weighting import LossWeighting


def weights_after(*epochs, names=("a", "b"), is_dynamic=True):
    weighting = LossWeighting(names, is_dynamic)
    for means in epochs:
        weighting.end_epoch(dict(zip(names, means, strict=True)))
    return weighting.weights()


def test_all_weights_are_one_for_two_epochs():
    assert weights_after() == {"a": 1.0, "b": 1.0}
    assert weights_after((1.0, 5.0)) == {"a": 1.0, "b": 1.0}
    assert weights_after((1.0, 5.0), (0.5, 5.0)) != {"a": 1.0, "b": 1.0}


def test_weights_are_those_of_the_paper():
    # Ratios 0.5 and 1: 2 exp(0.25) / (exp(0.25) + exp(0.5)) = 2 * 1.284025 / (1.284025 + 1.648721).
    assert weights_after((1.0, 4.0), (0.5, 4.0)) == pytest.approx({"a": 0.875647, "b": 1.124353}, abs=1e-6)
    # Ratios 1.5, 1 and 0.5 of the last two epochs.
    three = weights_after((9.0, 9.0, 9.0), (2.0, 1.0, 4.0), (3.0, 1.0, 2.0), names=("a", "b", "c"))
    assert three == pytest.approx({"a": 1.257687, "b": 0.979488, "c": 0.762826}, abs=1e-5)
    powers = [math.exp(ratio / 2.0) for ratio in (1.5, 1.0, 0.5)]
    assert list(three.values()) == pytest.approx([3.0 * power / sum(powers) for power in powers])


def test_a_loss_that_rises_manyfold_counts_as_one_that_rises_fivefold():
    assert weights_after((1.0, 1.0), (1e6, 1.0)) == weights_after((1.0, 1.0), (5.0, 1.0))
    # 2 exp(2.5) / (exp(2.5) + exp(0.5))
    assert weights_after((0.0, 1.0), (1.0, 1.0))["a"] == pytest.approx(2.0 / (1.0 + math.exp(-2.0)))
    assert weights_after((0.0, 1.0), (0.0, 1.0))["a"] == pytest.approx(2.0 / (1.0 + math.exp(0.5)))


def test_losses_that_are_no_tasks_are_not_recorded():
    weighting = LossWeighting(("a",), is_dynamic=True)
    weighting.end_epoch({"a": 1.0, "roughness": 3.0})
    assert weighting.history == [{"a": 1.0}]


def test_fixed_weights_are_one():
    assert weights_after((1.0, 1.0), (0.1, 1.0), (0.1, 9.0), is_dynamic=False) == {"a": 1.0, "b": 1.0}
