import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import affine_matrix, empty_image, head_image, numbers_image, rotation_about

from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.io.resources import resource_path
from SLSFGRLib.losses import GlobalCorrelation
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.spatial.fields import smooth
from SLSFGRLib.synthesis import Synthesis, draw_sample, fractions
from SLSFGRLib.synthesis.label_maps import label_map
from SLSFGRLib.training.data.image_pairs import aligned, changed, draw_pair, load_images, render_images
from SLSFGRLib.training.methods import self_supervised
from SLSFGRLib.training.monitoring.curves import draw_curve
from SLSFGRLib.training.recipe import Augmentation, read_recipe
from SLSFGRLib.training.trainer import Trainer

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


class Stopped(Exception):  # noqa: N818 - a wish, not a fault
    """Someone pressed Ctrl-C."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe and three heads of a child's doll: 5 cm tall, so that aligning them takes no time."""
    folder = tmp_path_factory.mktemp("recipe [1]")
    (folder / "recipe.toml").write_text(RECIPE)
    for number, name in enumerate("abc"):
        matrix = affine_matrix(3.0 * rotation_about((1, number, 2), 4 * number) @ np.diag([1, 1 + 0.05 * number, 1]))
        image = head_image(
            empty_image((20, 24, 21), (3, 3, 3), centre=(10 * number, 0, 0)),
            matrix @ affine_matrix(shift=(-10 * number, 0, 0)),
        )
        sitk.WriteImage(image[0], str(folder / f"head_{name}.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def recipe(folder):
    return read_recipe(folder / "recipe.toml")


def state_of(path):
    return torch.load(path, weights_only=True)


def stop_at(fraction):
    def progress(done, message):
        if done > fraction:
            raise Stopped

    return progress


def write_recipe(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_recipe_is_read_with_defaults_for_what_it_leaves_out(recipe, folder):
    assert recipe.name == "tiny"
    assert recipe.model.similarity == "ncc"
    assert recipe.model.network_options == {"channels": [2, 3, 4], "diffeomorphic": True}
    assert recipe.model.level_weights == (0.3, 0.6, 1.0)
    assert recipe.augmentation == Augmentation()
    assert (recipe.training.steps, recipe.training.seed) == (7, 3)
    assert recipe.files("training") == [folder / "head_a.nii.gz", folder / "head_b.nii.gz"]
    assert recipe.files("validation") == [folder / "head_c.nii.gz"]


def test_shipped_recipes_can_be_read_and_built():
    paths = sorted(resource_path("Recipes").glob("*.toml"))
    assert paths
    for path in paths:
        recipe = read_recipe(path)
        recipe.model.build()
        recipe.model.objective()
        assert len(recipe.model.level_weights) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model\n", "is not a TOML file"),
        ("[optimiser]\n", "unknown entry 'optimiser'; allowed: model, data"),
        ("[model]\nfacter = 2\n", r"\[model\]: has an unknown entry 'facter'; allowed: network"),
        ("[model]\nfactor = 2.5\n", r"\[model\]: factor: 2.5 is not of the kind int"),
        ("[model]\nroughness = '1'\n", r"\[model\]: roughness: '1' is not of the kind float"),
        ("[model]\nroughness = true\n", r"\[model\]: roughness: True is not of the kind float"),
        ("[model]\nlevel_weights = ['a']\n", r"\[model\]: level_weights: 'a' is not of the kind float"),
        ("[data]\ntraining = 'a.nii'\n", r"\[data\]: training: 'a.nii' is not of the kind tuple"),
        ("[data]\ntraining = [1]\n", r"\[data\]: training: 1 is not of the kind str"),
        ("[training]\nsteps = true\n", r"\[training\]: steps: True is not of the kind int"),
        ("training = 3\n", r"\[training\]: must be a table"),
        ("name = 3\n", "name: 3 is not of the kind str"),
    ],
)
def test_mistake_in_a_recipe_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=f"recipe.toml: .*{message}"):
        read_recipe(write_recipe(tmp_path, text))


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.toml: there is no such recipe"):
        read_recipe(tmp_path / "nothing.toml")


def test_whole_number_is_taken_where_a_fraction_is_meant(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "[model]\nroughness = 2\nlevel_weights = [1, 0.5, 2]\n"))
    assert recipe.model.roughness == 2.0
    assert recipe.model.level_weights == (1.0, 0.5, 2.0)


def test_pattern_without_a_file_is_named(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "[data]\ntraining = ['brain_*.nii.gz']\n"))
    with pytest.raises(InputError, match=r"brain_\*\.nii\.gz: no file matches this pattern of \[data\] training"):
        recipe.files("training")


def test_environment_variable_stands_for_a_folder(tmp_path, folder, monkeypatch):
    recipe = read_recipe(write_recipe(tmp_path, "[data]\ntraining = ['${DOLLS}/head_*.nii.gz']\n"))
    monkeypatch.delenv("DOLLS", raising=False)
    with pytest.raises(InputError, match="the environment variable DOLLS is not set"):
        recipe.files("training")
    monkeypatch.setenv("DOLLS", str(folder))
    assert recipe.files("training") == [folder / f"head_{name}.nii.gz" for name in "abc"]


def test_images_are_brought_to_the_first_one(folder):
    files = [folder / f"head_{name}.nii.gz" for name in "abc"]
    images = aligned(load_images(files, 3.0, 4), lambda fraction: None)
    assert [size % 4 for size in images.shape[2:]] == [0, 0, 0]
    for number in (1, 2):
        assert float(GlobalCorrelation()(images[number : number + 1], images[:1])) < 0.02


def test_one_image_is_too_few(folder):
    with pytest.raises(InputError, match="needs at least two images"):
        aligned(load_images([folder / "head_a.nii.gz"], 3.0, 4), lambda fraction: None)


def smooth_image():
    noise = torch.rand(1, 1, 24, 28, 20, generator=torch.Generator().manual_seed(0))
    return (3.0 * smooth(noise, 2.0) - 1.0).clamp(0, 1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_no_augmentation_changes_nothing():
    torch.testing.assert_close(changed(smooth_image(), STILL, 2.0, generator(0)), smooth_image(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("option", ["rotation_degrees", "scale", "shift_mm", "deformation_mm", "gamma"])
def test_every_augmentation_changes_the_image_anew_but_the_same_for_the_same_seed(option):
    augmentation = replace(STILL, **{option: getattr(Augmentation(), option)})
    first, again, other = (changed(smooth_image(), augmentation, 2.0, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - smooth_image()).abs().max() > 0.02
    assert (first - other).abs().max() > 0.02


def test_shift_is_in_millimetres_and_bounded():
    ramp = torch.arange(24.0)[:, None, None].expand(1, 1, 24, 28, 20) / 24
    shifts = []
    for seed in range(40):
        moved = changed(ramp, replace(STILL, shift_mm=6.0), 2.0, generator(seed))
        shifts.append(24 * float((moved - ramp)[0, 0, 10, 14, 10]))
    assert 2.5 < max(np.abs(shifts)) <= 3.0 + 1e-4
    assert min(shifts) < -1.5 < 1.5 < max(shifts)


def test_gamma_only_bends_the_scale_of_intensities():
    moved = changed(smooth_image(), replace(STILL, gamma=0.2), 2.0, generator(1))
    inside = (smooth_image() > 0.1) & (smooth_image() < 0.9)
    exponents = moved[inside].log() / smooth_image()[inside].log()
    assert float(exponents.std()) < 1e-3
    assert np.exp(-0.2) <= float(exponents.mean()) <= np.exp(0.2)


def test_pair_is_of_two_different_images():
    images = torch.stack([torch.full((1, 8, 8, 8), value) for value in (0.1, 0.2, 0.3)])
    seen = set()
    for seed in range(60):
        moving, fixed = draw_pair(images, STILL, 2.0, generator(seed))
        seen.add((round(float(moving.mean()), 3), round(float(fixed.mean()), 3)))
    assert seen == {(a, b) for a in (0.1, 0.2, 0.3) for b in (0.1, 0.2, 0.3) if a != b}


def test_training_with_a_stop_ends_as_training_without(recipe, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    Trainer(recipe, whole, "cpu").run()
    with pytest.raises(Stopped):
        Trainer(recipe, parts, "cpu").run(stop_at(4.5 / 7))
    assert state_of(parts / "checkpoint.pt")["step"] == 4
    resumed = Trainer(recipe, parts, "cpu")
    resumed.resume()
    assert resumed.run() == parts / "model.pt"
    expected, found = state_of(whole / "checkpoint.pt"), state_of(parts / "checkpoint.pt")
    assert found["step"] == 7
    assert found["rows"] == expected["rows"]
    for name, weight in expected["network"].items():
        assert torch.equal(found["network"][name], weight), name
    assert (parts / "curve.csv").read_text() == (whole / "curve.csv").read_text()
    for name, weight in load_model(str(whole / "model.pt")).network.state_dict().items():
        assert torch.equal(load_model(str(parts / "model.pt")).network.state_dict()[name], weight), name


def test_images_made_from_label_maps_lie_where_their_grid_says():
    heads = label_map(numbers_image((62, 78, 60), 2.0))
    plain = Synthesis(0, 0, 0, 0, 0, 0, 0, flip_chance=0, cut_chance=0, strip_chance=0)
    first, second = render_images([heads, heads], plain, 4.0, generator(0))
    assert not torch.equal(first.tensor, second.tensor)
    expected = draw_sample([heads], first.grid.shape, plain, generator(0), 4.0)
    assert torch.equal(first.tensor, expected.image)
    assert first.grid.spacing.tolist() == [4.0, 4.0, 4.0]
    assert [size % 8 for size in first.grid.shape] == [0, 0, 0]
    # The left hippocampus of the head lies at (28, 12, -16) LPS from its middle.
    parts = fractions(expected.anatomy)[0]
    names = [structure.name for structure in read_label_table()]
    share = parts[1 + names.index("Left hippocampus")].numpy()
    voxel = [np.average(index, weights=share) for index in np.indices(share.shape)]
    place = first.grid.matrix[:3, :3] @ voxel + first.grid.matrix[:3, 3] - first.grid.centre
    assert np.linalg.norm(place - (28, 12, -16)) < 3.0


def test_validation_images_come_last_behind_those_made_from_label_maps(recipe, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(self_supervised, "load_label_maps", lambda files, *_: seen.update(maps=files) or [7, 8])
    monkeypatch.setattr(self_supervised, "render_images", lambda maps, *_: [10.0 * number for number in maps])
    monkeypatch.setattr(self_supervised, "load_images", lambda files, *_: [float(n) for n in range(len(files))])
    monkeypatch.setattr(self_supervised, "aligned", lambda images, update: torch.tensor(images))
    task = Trainer(replace(recipe, data=replace(recipe.data, training_maps=("*.toml",))), tmp_path, "cpu").task
    task.prepare(lambda fraction: None)
    assert seen["maps"] == [recipe.folder / "recipe.toml"]
    assert task.training.tolist() == [0.0, 1.0, 70.0, 80.0]
    # The last of the training and the held-out one.
    assert task.validation.tolist() == [80.0, 2.0]


def test_one_training_image_is_too_few_whatever_is_held_out(recipe, tmp_path):
    with pytest.raises(InputError, match="needs at least two images"):
        Trainer(replace(recipe, data=replace(recipe.data, training=("head_a.nii.gz",))), tmp_path, "cpu").run()


@pytest.fixture
def aligned_images(folder, monkeypatch):
    """Images at once, in place of reading and aligning files."""
    noise = torch.rand(3, 1, 16, 20, 24, generator=torch.Generator().manual_seed(0))
    images = (4.0 * smooth(noise, 2.0) - 1.5).clamp(0, 1)
    monkeypatch.setattr(self_supervised, "load_images", lambda files, *_: [None] * len(files))
    monkeypatch.setattr(self_supervised, "aligned", lambda *_: images)
    return images


def test_curve_is_written_as_figures_and_as_a_picture(recipe, tmp_path, aligned_images):
    pytest.importorskip("matplotlib")
    Trainer(recipe, tmp_path, "cpu").run()
    with (tmp_path / "curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 7]
    for row, stored in zip(rows, state_of(tmp_path / "checkpoint.pt")["rows"], strict=True):
        assert {name: float(value) for name, value in row.items()} == stored
        assert 0.0 < stored["validation_likeness"] < 1.0
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "curve.png")))
    assert (picture != picture[0, 0]).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.pt",
        "curve.csv",
        "curve.png",
        "model.pt",
        "samples.png",
    ]


def test_no_picture_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw_curve([{"step": 1}], "score", "Dice", tmp_path / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_validation_never_looks_at_a_fixed_image_of_the_training(recipe, tmp_path, aligned_images):
    trainer = Trainer(recipe, tmp_path, "cpu")
    seen = []
    trainer.network.register_forward_hook(
        lambda network, pair, fields: None if fields[0].requires_grad else seen.append(pair[1])
    )
    trainer.run()
    assert len(seen) == 8  # four times for the figures and for the picture
    assert all(torch.equal(fixed, aligned_images[2:]) for fixed in seen)


def test_model_with_the_best_validation_is_kept(recipe, tmp_path, aligned_images, monkeypatch):
    trainer = Trainer(recipe, tmp_path, "cpu")
    weights, likeness = [], iter([0.2, 0.8, 0.8, 0.5])

    def validated():
        weights.append({name: weight.clone() for name, weight in trainer.network.state_dict().items()})
        return {"validation_loss": 0.0, "validation_likeness": next(likeness), "folding_percent": 0.0}

    monkeypatch.setattr(trainer.task, "validate", validated)
    kept = load_model(str(trainer.run())).network.state_dict()
    assert all(torch.equal(kept[name], weights[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], weights[2][name]) for name in kept)


def test_loss_falls_when_one_pair_is_learned_by_heart(recipe, tmp_path, aligned_images):
    schedule = replace(recipe.training, steps=60, validate_every=20, learning_rate=1e-2)
    model = replace(recipe.model, network_options={"channels": [4, 6, 8], "diffeomorphic": True}, roughness=0.02)
    trainer = Trainer(replace(recipe, training=schedule, augmentation=STILL, model=model), tmp_path, "cpu")
    trainer.run()
    losses = [row["training_registration"] for row in trainer.rows]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_learning_rate_falls_along_a_cosine(recipe, tmp_path, aligned_images):
    trainer = Trainer(recipe, tmp_path, "cpu")
    rates = []
    trainer.run(lambda done, message: rates.append(trainer.optimiser.param_groups[0]["lr"]))
    np.testing.assert_allclose(rates, [5e-3 * 0.5 * (1 + np.cos(np.pi * step / 7)) for step in range(7)])


def test_seed_decides_the_first_weights_and_leaves_chance_alone(recipe, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = Trainer(recipe, tmp_path, "cpu"), Trainer(recipe, tmp_path, "cpu")
    assert torch.equal(torch.rand(3), expected)
    other = Trainer(replace(recipe, training=replace(recipe.training, seed=4)), tmp_path, "cpu")
    weights = [trainer.network.encode_fine[0].weight for trainer in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_image_in_both_sets_is_refused(recipe, tmp_path):
    both = replace(recipe, data=replace(recipe.data, validation=("../*/head_b.nii.gz",)))
    with pytest.raises(InputError, match=r"head_b\.nii\.gz: is both a training and a validation image"):
        Trainer(both, tmp_path, "cpu").run()


def test_training_without_validation_is_refused(recipe, tmp_path):
    with pytest.raises(InputError, match="training needs at least one image"):
        Trainer(replace(recipe, data=replace(recipe.data, validation=())), tmp_path, "cpu").run()


def test_resuming_without_a_usable_checkpoint_is_refused(recipe, tmp_path, aligned_images):
    with pytest.raises(InputError, match=r"checkpoint\.pt: there is no checkpoint"):
        Trainer(recipe, tmp_path, "cpu").resume()
    (tmp_path / "checkpoint.pt").write_bytes(b"hello world\n" * 10)
    with pytest.raises(InputError, match=r"checkpoint\.pt: is not a checkpoint"):
        Trainer(recipe, tmp_path, "cpu").resume()
    Trainer(recipe, tmp_path, "cpu").run()
    other = replace(recipe, model=replace(recipe.model, roughness=0.7))
    with pytest.raises(InputError, match=r"checkpoint\.pt: was made with another \[model\]"):
        Trainer(other, tmp_path, "cpu").resume()


@pytest.mark.parametrize(("stop", "advice"), [(1, "nothing was written."), (4, "with --resume.")])
def test_interrupted_command_says_what_is_left(folder, tmp_path, aligned_images, monkeypatch, capsys, stop, advice):
    learn = Trainer._learn

    def interrupted(trainer):
        if trainer.step == stop:
            raise KeyboardInterrupt
        return learn(trainer)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    output = tmp_path / "run"
    assert main(["train", str(folder / "recipe.toml"), "--output", str(output), "--quiet"]) == 130
    assert capsys.readouterr().err.strip().endswith(advice)
    assert (output / "checkpoint.pt").exists() == (stop == 4)
