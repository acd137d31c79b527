"""What tests of training share: changes of a recipe, interrupted runs, checkpoints."""

from dataclasses import replace

import pytest
import torch

from SLSFGRLib.training import Trainer


class Stopped(Exception):  # noqa: N818 - a wish, not a fault
    """Someone pressed Ctrl-C."""


def changed(recipe, part, **values):
    """A recipe with other values in one section."""
    return replace(recipe, **{part: replace(getattr(recipe, part), **values)})


def prepared(recipe, folder):
    """A trainer that has loaded its data."""
    trainer = Trainer(recipe, folder, "cpu")
    trainer.method.prepare(lambda fraction: None)
    return trainer


def state_of(path):
    return torch.load(path, weights_only=True)


def equal_weights(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run_with_a_stop(recipe, folder, after):
    """Train, stop after a number of steps, and resume."""

    def stop(done, message):
        if done * recipe.training.steps > after:
            raise Stopped

    with pytest.raises(Stopped):
        Trainer(recipe, folder, "cpu").run(stop)
    assert 0 < state_of(folder / "checkpoint.pt")["step"] <= after
    resumed = Trainer(recipe, folder, "cpu")
    resumed.resume()
    return resumed.run()


def assert_same_run(first, second):
    """Two folders hold the same training to the last digit."""
    expected, found = state_of(first / "checkpoint.pt"), state_of(second / "checkpoint.pt")
    for part in ("step", "rows", "history", "learning_rate"):
        assert found[part] == expected[part], part
    for part in ("network", "average"):
        assert equal_weights(found[part], expected[part]), part
    assert equal_weights(state_of(first / "model.pt")["weights"], state_of(second / "model.pt")["weights"])
    assert (first / "curve.csv").read_text() == (second / "curve.csv").read_text()
