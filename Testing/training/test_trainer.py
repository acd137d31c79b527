"""The training loop, with the self-supervised method: files, resuming, averaging, what is refused."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_runs import assert_same_run, changed, equal_weights, prepared, run_with_a_stop, state_of

from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.spatial.fields import smooth
from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.data.image_pairs import align_images, load_images
from SLSFGRLib.training.methods import self_supervised
from SLSFGRLib.training.monitoring.curves import draw_curve
from SLSFGRLib.training.sections import Augmentation
from SLSFGRLib.training.trainer import averaged

STILL = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0)
RECIPE = """
name = "tiny"
[model]
factor = 4
similarity = "ncc"
penalty = "gradient"
roughness = 0.1
[model.network_options]
channels = [2, 3, 4]
diffeomorphic = true
[data]
training = ["head_[ab].nii.gz"]
validation = ["head_c.nii.gz"]
[training]
seed = 3
steps = 7
learning_rate = 5e-3
validate_every = 2
"""


@pytest.fixture(scope="module")
def recipe(head_folder):
    (head_folder / "recipe.toml").write_text(RECIPE)
    return read_recipe(head_folder / "recipe.toml")


@pytest.fixture
def aligned_images(monkeypatch):
    """Images at once, in place of reading and aligning files."""
    noise = torch.rand(3, 1, 16, 20, 24, generator=torch.Generator().manual_seed(0))
    images = (4.0 * smooth(noise, 2.0) - 1.5).clamp(0, 1)
    monkeypatch.setattr(self_supervised, "load_images", lambda files, *_: [None] * len(files))
    monkeypatch.setattr(self_supervised, "align_images", lambda *_: images)
    return images


def test_training_with_a_stop_ends_as_training_without(recipe, tmp_path, aligned_images):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    Trainer(recipe, whole, "cpu").run()
    assert run_with_a_stop(recipe, parts, after=4) == parts / "model.pt"
    assert_same_run(whole, parts)


def test_images_of_label_maps_are_trained_on_and_validation_images_are_not(recipe, label_map_folder, tmp_path):
    maps = (str(label_map_folder / "phantom_a.npz"),)
    method = prepared(changed(recipe, "data", training_maps=maps), tmp_path).method
    images = align_images(load_images(recipe.files("training") + recipe.files("validation"), 4.0, 4), print)
    assert len(method.training) == 3
    assert torch.equal(method.training[:2], images[:2])
    # The last of the training images, to be registered to the validation image.
    assert torch.equal(method.validation, torch.stack([method.training[2], images[2]]))


def test_curve_is_written_as_figures_and_as_a_picture(recipe, tmp_path, aligned_images, pictures):
    pytest.importorskip("matplotlib")
    Trainer(recipe, tmp_path, "cpu").run()
    with (tmp_path / "curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 7]
    for row, stored in zip(rows, state_of(tmp_path / "checkpoint.pt")["rows"], strict=True):
        assert {name: float(value) for name, value in row.items()} == stored
        assert 0.0 < stored["validation_lncc"] < 1.0
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "curve.png")))
    assert (picture != picture[0, 0]).any()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint.pt", "curve.csv", "curve.png", "model.pt", "samples.png"]


def test_no_picture_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw_curve([{"step": 1}], "score", "Dice", tmp_path / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_validation_never_has_a_fixed_image_of_the_training(recipe, tmp_path, aligned_images):
    trainer, seen = Trainer(recipe, tmp_path, "cpu"), []
    trainer.average.module.register_forward_hook(lambda network, pair, fields: seen.append(pair[1]))
    trainer.run()
    assert len(seen) == 8  # four times for the figures and for the picture
    assert all(torch.equal(fixed, aligned_images[2:]) for fixed in seen)


def test_model_with_the_best_validation_is_kept(recipe, tmp_path, aligned_images, monkeypatch):
    trainer = Trainer(recipe, tmp_path, "cpu")
    weights, scores = [], iter([0.2, 0.8, 0.8, 0.5])

    def validate(network):
        weights.append({name: weight.clone() for name, weight in network.state_dict().items()})
        return {"validation_loss": 0.0, "validation_lncc": next(scores), "folding_percent": 0.0}

    monkeypatch.setattr(trainer.method, "validate", validate)
    kept = load_model(str(trainer.run())).network.state_dict()
    assert equal_weights(kept, weights[1])
    assert not equal_weights(kept, weights[2])


def test_loss_falls_when_one_pair_is_repeated(recipe, tmp_path, aligned_images):
    recipe = changed(recipe, "training", steps=60, validate_every=20, learning_rate=1e-2)
    options = {"channels": [4, 6, 8], "diffeomorphic": True}
    recipe = replace(changed(recipe, "model", network_options=options, roughness=0.02), augmentation=STILL)
    trainer = Trainer(recipe, tmp_path, "cpu")
    trainer.run()
    losses = [row["training_registration"] for row in trainer.rows]
    assert losses == sorted(losses, reverse=True)
    # Rounding decides: below 0.80 on one processor, 0.81 on another.
    assert losses[-1] < 0.85 * losses[0]


def test_a_network_learns_at_each_resolution_and_registers_through_all_rounds(recipe, tmp_path, aligned_images):
    recipe = changed(recipe, "training", steps=20, validate_every=20, learning_rate=1e-2)
    options = {"channels": [4, 6, 8], "diffeomorphic": True, "forces": True}
    model = {"network_options": options, "roughness": 0.02, "pyramid": (2 * recipe.model.factor, recipe.model.factor)}
    recipe = replace(changed(recipe, "model", rounds=4, **model), augmentation=STILL)
    trainer = Trainer(recipe, tmp_path, "cpu")
    before = trainer.method.prepare(lambda fraction: None) or trainer.method.validate(trainer.network)
    trainer.run()
    # Measured: it rises by 0.18.
    assert before["validation_lncc"] + 0.1 < trainer.rows[-1]["validation_lncc"]


def test_learning_rate_falls_along_a_cosine(recipe, tmp_path, aligned_images):
    trainer = Trainer(recipe, tmp_path, "cpu")
    rates = [trainer.optimiser.param_groups[0]["lr"]]
    trainer.run(lambda done, message: rates.append(trainer.optimiser.param_groups[0]["lr"]))
    np.testing.assert_allclose(rates, [5e-3 * 0.5 * (1 + np.cos(np.pi * step / 7)) for step in range(8)], atol=1e-12)


# --- running average of the weights -------------------------------------------------------------------------


@pytest.fixture
def one_weight():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    return network


def average_of(network, values):
    average = averaged(network)
    for value in values:
        network.weight.data.fill_(value)
        average.update_parameters(network)
    return float(average.module.weight.detach())


def test_average_of_two_steps_is_that_of_hand_computed_numbers(one_weight):
    # Decays 1 / 11 and 2 / 12 of weights 0, 1 and 3.
    first = 1.0 * 10 / 11
    assert average_of(one_weight, [1.0, 3.0]) == pytest.approx(first * 2 / 12 + 3.0 * 10 / 12)


# --- what is refused ----------------------------------------------------------------------------------------


def test_seed_decides_the_first_weights_and_nothing_else(recipe, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = Trainer(recipe, tmp_path, "cpu"), Trainer(recipe, tmp_path, "cpu")
    assert torch.equal(torch.rand(3), expected)
    other = Trainer(changed(recipe, "training", seed=4), tmp_path, "cpu")
    weights = [trainer.network.encode_fine[0].weight for trainer in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"validation": ("../*/head_b.nii.gz",)}, r"head_b\.nii\.gz: is used for both training and validation"),
        ({"validation": ()}, "training needs at least one image"),
        ({"training": ("head_a.nii.gz",)}, "needs at least two images"),
    ],
)
def test_too_few_images_or_one_in_both_sets_are_refused(recipe, tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        Trainer(changed(recipe, "data", **data), tmp_path, "cpu").run()


def test_a_finished_run_goes_on_with_a_longer_schedule(recipe, tmp_path, aligned_images):
    Trainer(recipe, tmp_path, "cpu").run()
    longer = Trainer(changed(recipe, "training", steps=9, learning_rate=4e-3), tmp_path, "cpu")
    longer.resume()
    longer.run()
    rates = longer.optimiser.param_groups[0]["lr"], longer.learning_rate.base_lrs
    assert longer.step == 9
    assert rates == (pytest.approx(0.0, abs=1e-12), [4e-3])


def test_resuming_without_a_usable_checkpoint_is_refused(recipe, tmp_path, aligned_images):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InputError, match=r"checkpoint\.pt: there is no checkpoint"):
        Trainer(recipe, tmp_path, "cpu").resume()
    path.write_bytes(b"hello world\n" * 10)
    with pytest.raises(InputError, match=r"checkpoint\.pt: is not a checkpoint"):
        Trainer(recipe, tmp_path, "cpu").resume()
    Trainer(recipe, tmp_path, "cpu").run()
    with pytest.raises(InputError, match=r"checkpoint\.pt: was made with another \[model\]"):
        Trainer(changed(recipe, "model", roughness=0.7), tmp_path, "cpu").resume()
    older = state_of(path)
    del older["format"]
    torch.save(older, path)
    with pytest.raises(InputError, match=r"was made by another version; .* with the run's model\.pt as start"):
        Trainer(recipe, tmp_path, "cpu").resume()


@pytest.mark.parametrize(("stop", "advice"), [(1, "nothing was written."), (4, "with --resume.")])
def test_interrupted_command_says_what_is_left(recipe, tmp_path, aligned_images, monkeypatch, capsys, stop, advice):
    learn = Trainer._learn

    def interrupted(trainer):
        if trainer.step == stop:
            raise KeyboardInterrupt
        return learn(trainer)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    output = tmp_path / "run"
    assert main(["train", str(recipe.folder / "recipe.toml"), "--output", str(output), "--quiet"]) == 130
    assert capsys.readouterr().err.strip().endswith(advice)
    assert (output / "checkpoint.pt").exists() == (stop == 4)
