"""Variants of the network that the ablation trains."""

import pytest
import torch

from benchmarks.ablation import VARIANTS, Training, Variant, figures, recipe, train
from SLSFGRLib.training import trainer


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
    training = Training(1, 40, tmp_path)
    folder = training.folder("no segmentation")
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text(curve)
    found = figures(training, Variant("no segmentation"), tmp_path)
    assert found == {"dice": 0.5, "folding_percent": 0.0}


def test_stopped_training_continues_from_its_checkpoint(tmp_path, monkeypatch):
    calls = []

    class Recorder:
        def __init__(self, made, folder):
            calls.append((made.training.steps, made.training.seed, folder))

        def resume(self):
            calls.append("resume")

        def run(self):
            calls.append("run")

    monkeypatch.setattr(trainer, "Trainer", Recorder)
    folder = Training(2, 40, tmp_path).folder("+ frequency block")
    train("+ frequency block", "40", "2", str(tmp_path))
    assert calls == [(40, 2, folder), "run"]
    assert (folder / "label_maps").resolve() == tmp_path / "label_maps"
    (folder / trainer.CHECKPOINT).touch()
    train("+ frequency block", "40", "2", str(tmp_path))
    assert calls[2:] == [(40, 2, folder), "resume", "run"]


def test_trainings_have_folders_of_their_own(tmp_path):
    folders = {
        Training(seed, steps, tmp_path).folder(name) for name in VARIANTS for steps in (40, 80) for seed in (0, 1)
    }
    assert len(folders) == 4 * len(VARIANTS)
