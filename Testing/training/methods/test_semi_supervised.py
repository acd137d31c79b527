"""The semi-supervised method: what it trains on, its validation, and starting from a model."""

from dataclasses import replace

import pytest
import torch
from phantoms import generator
from training_runs import assert_same_run, changed, equal_weights, prepared, run_with_a_stop, state_of

from SLSFGRLib.errors import InputError
from SLSFGRLib.models.model import Model
from SLSFGRLib.synthesis import Synthesiser, partial_volume_labels
from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.data.validation_pairs import validation_pairs
from SLSFGRLib.training.methods import semi_supervised

RECIPE = """
name = "phantom"
[model]
network = "sl_sfgr"
factor = 2
roughness = 0.5
[model.network_options]
structures = 30
channels = [4, 6, 8, 8]
matching_channels = 4
[data]
training_maps = ["phantom_[ab].npz"]
validation_maps = ["phantom_[cd].npz"]
[synthesis]
rotation_degrees = 5.0
large_rotation_chance = 0.0
shift_mm = 1.0
deformation_mm = 2.0
slice_chance = 0.0
cut_chance = 0.0
strip_chance = 0.0
pair_shift_mm = 1.0
[supervision]
shape = [16, 24, 16]
label_fraction = 0.5
segmentation_steps = 2
real_pairs = 0.0
pseudo_steps = 4
[training]
method = "semi_supervised"
dynamic_weights = true
seed = 3
steps = 7
learning_rate = 5e-3
validate_every = 2
"""
TASKS = ("similarity", "segmentation", "anatomy")


@pytest.fixture(scope="module")
def recipe(label_map_folder):
    (label_map_folder / "semi_supervised.toml").write_text(RECIPE)
    return read_recipe(label_map_folder / "semi_supervised.toml")


def with_options(recipe, **options):
    return changed(recipe, "model", network_options=recipe.model.network_options | options)


# --- a whole run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_run(recipe, tmp_path_factory):
    """A run without a stop."""
    where = tmp_path_factory.mktemp("whole")
    Trainer(recipe, where, "cpu").run()
    return where


def test_training_with_a_stop_ends_as_training_without(recipe, whole_run, tmp_path):
    run_with_a_stop(recipe, tmp_path, after=4)
    assert_same_run(whole_run, tmp_path)


def test_rows_have_the_losses_and_the_validation_figures(whole_run):
    rows = state_of(whole_run / "checkpoint.pt")["rows"]
    assert [row["step"] for row in rows] == [2, 4, 6, 7]
    # The first two steps train the segmentation only.
    assert {name for name in rows[0] if name.startswith("training")} == {"training_segmentation"}
    assert set(rows[1]) - set(rows[0]) == {"training_similarity", "training_anatomy", "training_roughness"}
    for row in rows:
        assert 0.0 < row["segmentation_dice"] < 1.0
        assert 0.2 < row["dice_before"] < 1.0
        assert row["validation_dice"] == pytest.approx((row["segmentation_dice"] + row["registration_dice"]) / 2.0)
    # Of a network that does not move anything yet; where structures share a voxel by halves, rounding decides.
    assert rows[0]["registration_dice"] == pytest.approx(rows[0]["dice_before"], abs=5e-3)
    assert rows[0]["dice_before"] == rows[-1]["dice_before"]
    # The epoch of the segmentation alone says nothing about the weights of the other tasks.
    history = state_of(whole_run / "checkpoint.pt")["history"]
    assert history == [{name: row[f"training_{name}"] for name in TASKS} for row in rows[1:]]


def test_model_of_the_run_gives_what_was_validated(recipe, whole_run, tmp_path):
    trainer = prepared(changed(recipe, "training", start=str(whole_run / "model.pt")), tmp_path)
    rows = state_of(whole_run / "checkpoint.pt")["rows"]
    best = max(rows, key=lambda row: row["validation_dice"])
    with torch.no_grad():
        figures = trainer.method.validate(trainer.network)
    assert figures == {name: best[name] for name in figures}


def test_frozen_parts_keep_their_weights_and_the_others_learn(recipe, whole_run, tmp_path):
    recipe = changed(recipe, "supervision", segmentation_steps=0)
    start = {"start": str(whole_run / "model.pt"), "learning_rate": 1e-2}
    trainer = prepared(changed(recipe, "training", frozen=("encoder", "segmenter"), **start), tmp_path)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    for _ in range(4):  # the gates begin to learn when what they let through counts
        trainer._learn()
        trainer.step += 1
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(("encoder", "segmenter")), name


# --- weights of the losses ---------------------------------------------------------------------------------


# --- labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.1, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_label_fraction_is_how_many_maps_show_their_labels(recipe, tmp_path, fraction, count):
    trainer = prepared(changed(recipe, "supervision", label_fraction=fraction), tmp_path)
    method = trainer.method
    method.training = [*method.training, *method.validation]
    # Without all labels two unlike contrasts could not be compared.
    settings = replace(recipe.synthesis, same_contrast_chance=0.5 if fraction == 1.0 else 1.0)
    synthesiser = Synthesiser(settings, (16, 24, 16))
    seen = set()
    for seed in range(12):
        pair = synthesiser.pair(method.training, generator(seed))
        moving, fixed = method._draw_pair(generator(seed))
        for sample, example in ((pair.moving, moving), (pair.fixed, fixed)):
            assert torch.equal(example.image, sample.image)
            assert (example.labels is None) == (sample.number >= count)
            if example.labels is not None:
                assert torch.equal(example.labels, partial_volume_labels(sample.labels))
            # Labels that may not be seen do not help to compare the images either.
            assert (example.reference is example.image) == (fraction < 1.0)
            seen.add(sample.number)
    assert seen == {0, 1, 2, 3}


def test_the_first_steps_train_the_segmentation_on_labelled_maps_only(recipe, tmp_path, monkeypatch):
    trainer = prepared(recipe, tmp_path)
    draw, seen = Synthesiser.sample, []
    monkeypatch.setattr(Synthesiser, "sample", lambda self, maps, *rest: seen.append(maps) or draw(self, maps, *rest))
    for step in (0, 1):
        losses = trainer.method.losses(step, generator(step))
        assert set(losses) == {"segmentation"}
        trainer.network.zero_grad()
        losses["segmentation"].backward()
        for name, parameter in trainer.network.named_parameters():
            assert (parameter.grad is not None) == name.startswith(("encoder", "segmenter")), name
    assert [len(maps) for maps in seen] == [1, 1]
    assert all(maps[0] is trainer.method.training[0] for maps in seen)
    assert set(trainer.method.losses(2, generator(2))) == {*TASKS, "roughness"}


def test_weight_of_losses_without_labels_rises_gradually(recipe, tmp_path, monkeypatch):
    trainer, seen = prepared(changed(recipe, "supervision", overlap=0.3), tmp_path), []

    def losses(network, moving, fixed, pseudo_weight, overlap, to_full_resolution):
        seen.append(pseudo_weight)
        assert overlap == 0.3
        return {"roughness": torch.ones(())}

    monkeypatch.setattr(semi_supervised, "pair_losses", losses)
    found = [trainer.method.losses(step, generator(step)) for step in (2, 3, 6, 20)]
    assert seen == [0.0, 0.25, 1.0, 1.0]
    assert all(float(row["roughness"]) == 0.5 for row in found)


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.0, 0, 0), (0.25, 5, 15), (1.0, 40, 40)])
def test_share_of_pairs_trains_the_explicit_steps_at_the_full_resolution(
    recipe, tmp_path, monkeypatch, share, fewest, most
):
    trainer, seen = prepared(changed(recipe, "supervision", full_resolution_share=share), tmp_path), []

    def losses(*others):
        seen.append(others[-1])
        return {"roughness": torch.ones(())}

    monkeypatch.setattr(semi_supervised, "pair_losses", losses)
    draws = generator(1)
    for _ in range(40):
        trainer.method.losses(3, draws)
    assert fewest <= seen.count(True) <= most
    assert len(seen) == 40


@pytest.mark.parametrize("change", ["no labels", "no segmentation"])
def test_without_anything_to_segment_the_first_steps_register(recipe, tmp_path, change):
    if change == "no labels":
        trainer = prepared(changed(recipe, "supervision", label_fraction=0.0), tmp_path)
        expected = {*TASKS, "roughness"}
    else:
        trainer = prepared(with_options(recipe, segmentation=False), tmp_path)
        expected = {"similarity", "roughness"}
    losses = trainer.method.losses(0, generator(0))
    assert set(losses) == expected
    sum(losses.values()).backward()
    with torch.no_grad():
        figures = trainer.method.validate(trainer.network)
    assert ("segmentation_dice" in figures) == (change == "no labels")
    if change == "no segmentation":
        assert figures["validation_dice"] == figures["registration_dice"]


def test_real_images_have_no_labels(recipe, tmp_path):
    trainer = prepared(changed(recipe, "supervision", label_fraction=1.0, real_pairs=0.5), tmp_path)
    trainer.method.images = torch.rand(3, 1, 16, 16, 24, generator=generator(0))
    labelled = []
    for seed in range(20):
        moving, fixed = trainer.method._draw_pair(generator(seed))
        assert (moving.labels is None) == (fixed.labels is None) == (moving.image.shape[4] == 24)
        assert (moving.reference is moving.image) == (moving.labels is None)
        labelled.append(moving.labels is not None)
    assert 4 < sum(labelled) < 16


# --- validation ---------------------------------------------------------------------------------------------


def test_validation_looks_at_held_out_maps_alone_and_always_the_same(recipe, tmp_path, monkeypatch):
    trainer = prepared(recipe, tmp_path)
    draw, seen = Synthesiser.pair, []
    monkeypatch.setattr(Synthesiser, "pair", lambda self, maps, *rest: seen.extend(maps) or draw(self, maps, *rest))
    with torch.no_grad():
        first, again = trainer.method.validate(trainer.network), trainer.method.validate(trainer.network)
    assert first == again
    held_out = {id(label_map) for label_map in trainer.method.validation}
    assert {id(label_map) for label_map in seen} == held_out
    assert held_out.isdisjoint(id(label_map) for label_map in trainer.method.training)
    other = prepared(changed(recipe, "training", seed=9), tmp_path)
    with torch.no_grad():
        assert other.method.validate(other.network)["dice_before"] == first["dice_before"]


@torch.no_grad()
def test_samples_are_held_out_pairs_with_their_labels_and_segmentation(recipe, tmp_path):
    trainer = prepared(recipe, tmp_path)
    pairs = validation_pairs(trainer.method.validation, Synthesiser(recipe.synthesis, (16, 24, 16)))
    samples = trainer.method.samples(trainer.network)
    assert len(samples) == 2
    for sample, pair in zip(samples, pairs, strict=False):
        assert list(sample) == ["Moving", "Warped", "Fixed", "Labels", "Segmentation"]
        assert torch.equal(sample["Fixed"], pair.fixed.image[0, 0])
        # The field is still zero.
        torch.testing.assert_close(sample["Warped"], pair.moving.image[0, 0])
        assert torch.equal(sample["Labels"], partial_volume_labels(pair.fixed.labels).argmax(1)[0])
        assert torch.equal(sample["Segmentation"], trainer.network.segment(pair.fixed.image).argmax(1)[0])
    alone = prepared(with_options(recipe, segmentation=False), tmp_path)
    (first, _) = alone.method.samples(alone.network)
    assert list(first) == ["Moving", "Warped", "Fixed"]


# --- what is refused ----------------------------------------------------------------------------------------


def test_map_in_both_sets_is_refused(recipe, tmp_path):
    wrong = changed(recipe, "data", validation_maps=("phantom_[bc].npz",))
    with pytest.raises(InputError, match=r"phantom_b\.npz: is used for both training and validation"):
        prepared(wrong, tmp_path)


@pytest.mark.parametrize("wrong", [{"training_maps": ("phantom_a.npz",)}, {"validation_maps": ("phantom_d.npz",)}])
def test_one_map_is_too_few(recipe, tmp_path, wrong):
    with pytest.raises(InputError, match="at least two label maps in each of"):
        prepared(changed(recipe, "data", **wrong), tmp_path)


# --- starting from a model ----------------------------------------------------------------------------------


def test_training_starts_from_a_model(recipe, tmp_path):
    network = recipe.model.build()
    Model("first", recipe.model, network).save(tmp_path / "first.pt")
    found = Trainer(changed(replace(recipe, folder=tmp_path), "training", start="first.pt"), tmp_path, "cpu")
    assert equal_weights(found.network.state_dict(), network.state_dict())
    assert not equal_weights(Trainer(recipe, tmp_path, "cpu").network.state_dict(), network.state_dict())


def test_model_of_another_form_is_no_start(recipe, tmp_path):
    other = with_options(recipe, matching_channels=6).model
    Model("first", other, other.build()).save(tmp_path / "first.pt")
    with pytest.raises(InputError, match=r"first\.pt: is a model of another form"):
        Trainer(changed(recipe, "training", start=str(tmp_path / "first.pt")), tmp_path, "cpu")
    with pytest.raises(InputError, match=r"nothing\.pt: there is no such model file"):
        Trainer(changed(recipe, "training", start=str(tmp_path / "nothing.pt")), tmp_path, "cpu")
