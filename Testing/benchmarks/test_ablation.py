"""Variants of the network that the ablation trains."""

import pytest
import torch

from benchmarks.ablation import VARIANTS, Training, Variant, figures, recipe


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_in_what_their_names_say(name):
    made = recipe(name, steps=40, seed=2)
    network = made.model.build()
    assert (network.segmenter is not None) == (name != "no segmentation")
    adapter = network.adapters[0]
    assert (adapter.gate is not None) == (name not in ("no segmentation", "+ segmentation loss"))
    others = ("pair gains instead", "band limit instead")
    without_frequency = ("no segmentation", "+ segmentation loss", "+ feature guidance", *others)
    assert isinstance(adapter.enhance, torch.nn.Identity) == (name in without_frequency)
    refinement = network.refinements[0]
    assert (refinement.gate is not None, isinstance(refinement.low_pass, torch.nn.Module)) == tuple(
        name == other for other in others
    )
    assert made.training.dynamic_weights == (name == "+ dynamic weights" or name.startswith("label"))
    percent = int(name.split()[2]) if name.startswith("label") else 50
    assert made.supervision.label_fraction == percent / 100.0
    assert (made.training.steps, made.training.seed) == (40, 2)


def test_figures_are_those_of_the_last_validation(tmp_path):
    curve = "step,registration_dice,segmentation_dice,folding_percent\n20,0.4,,0.1\n40,0.5,,0.0\n"
    (tmp_path / "curve.csv").write_text(curve)
    found = figures(Training(1, 40, tmp_path), Variant("no segmentation"), tmp_path)
    assert found == {"dice": 0.5, "folding_percent": 0.0}
