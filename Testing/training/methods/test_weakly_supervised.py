"""The weakly supervised method: synthetic pairs, the user's cases, and the losses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import affine_matrix, empty_image, filled, generator, head_image
from training_runs import assert_same_run, changed, prepared, run_with_a_stop, state_of

from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.evaluation.metrics import dice_by_label
from SLSFGRLib.io.label_table import channel_lookup
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import downsample
from SLSFGRLib.synthesis import Synthesis, Synthesiser, align_label_maps, load_label_maps, partial_volume_labels
from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.data import label_pairs
from SLSFGRLib.training.data.label_files import Label
from SLSFGRLib.training.data.label_pairs import Case, LabelledCases
from SLSFGRLib.training.data.synthetic_pairs import SyntheticImage, SyntheticImages
from SLSFGRLib.training.sections import Augmentation

# Of the patients' heads, and how the moving one differs.
SHRINKING, STRETCH, SHIFT = np.full(3, 3.75), np.array([1.0, 0.9, 1.0]), (6.0, 0.0, -7.0)
STILL = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0)
MODEL = """
name = "phantom"
[model]
network = "hu"
factor = 4
penalty = "bending"
roughness = 0.1
pair_steps = 0
[model.network_options]
channels = [4, 6]
matching_channels = 4
global_channels = [4, 6]
"""
MAPS = (
    MODEL
    + """
[data]
training_maps = ["phantom_[ab].npz"]
validation_maps = ["phantom_[cd].npz"]
[synthesis]
t1_share = 0.5
t2_share = 0.5
pd_share = 0.0
flair_share = 0.0
random_share = 0.0
unlike_contrasts = true
same_contrast_chance = 0.0
rotation_degrees = 5.0
large_rotation_chance = 0.0
shift_mm = 1.0
deformation_mm = 2.0
slice_chance = 0.0
cut_chance = 0.0
strip_chance = 0.0
[supervision]
shape = [8, 12, 8]
[weak_supervision]
scales = [0, 1, 4]
feature_weight = 0.5
labels_per_step = 3
images = 8
[training]
method = "weakly_supervised"
seed = 3
steps = 5
learning_rate = 5e-3
validate_every = 2
"""
)
CASES = (
    MODEL.replace("factor = 4", "factor = 1")
    + """
[data]
training_cases = ["training"]
validation_cases = ["validation.csv"]
align_cases = false
[augmentation]
rotation_degrees = 0.0
scale = 0.0
shift_mm = 0.0
deformation_mm = 0.0
gamma = 0.0
[weak_supervision]
scales = [0, 1, 2, 4]
labels_per_step = 2
[training]
method = "weakly_supervised"
seed = 1
steps = 8
learning_rate = 2e-2
validate_every = 4
"""
)


@pytest.fixture(scope="module")
def maps_recipe(label_map_folder):
    (label_map_folder / "weakly_supervised.toml").write_text(MAPS)
    return read_recipe(label_map_folder / "weakly_supervised.toml")


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Two heads of 4 cm, the moving one shifted and stretched and of another contrast, with labels of three kinds."""
    folder = tmp_path_factory.mktemp("patients")
    (folder / "recipe.toml").write_text(CASES)
    small = affine_matrix(np.diag(SHRINKING))
    stretched = affine_matrix(np.diag(SHRINKING * STRETCH), SHIFT)
    for name, has_points in (("training/one", True), ("training/two", False), ("held out", False)):
        case = folder / name
        case.mkdir(parents=True)
        fixed, fixed_labels = head_image(empty_image((34, 40, 36), (1.28, 1.28, 1.28), centre=(0, 0, 0)), small)
        moving, moving_labels = head_image(empty_image((34, 40, 36), (1.28, 1.28, 1.28), centre=(0, 0, 0)), stretched)
        array = sitk.GetArrayFromImage(moving)
        sitk.WriteImage(fixed, str(case / "fixed.nii.gz"))
        sitk.WriteImage(filled(moving, np.sqrt(array * np.maximum(0, 230 - array))), str(case / "moving.nii.gz"))
        sitk.WriteImage(fixed_labels, str(case / "fixed_parts.nii.gz"))
        if name == "training/two":
            # Not everything was labelled here.
            moving_labels = moving_labels * sitk.Cast(moving_labels < 4, moving_labels.GetPixelID())
        sitk.WriteImage(moving_labels, str(case / "moving_parts.nii.gz"))
        if has_points:
            place = np.array([26.0, 4.0, 8.0])
            for role, matrix in (("fixed", small), ("moving", stretched)):
                there = np.linalg.inv(matrix[:3, :3]) @ (place - matrix[:3, 3])
                (case / f"{role}_point.csv").write_text("x,y,z,label\n" + ",".join(map(str, there)) + ",a\n")
    rows = ["held out/" + name for name in ("moving", "fixed", "moving_parts", "fixed_parts")]
    (folder / "validation.csv").write_text(
        "moving,fixed,moving_labels,fixed_labels\n" + ",".join(f"{row}.nii.gz" for row in rows) + "\n"
    )
    return folder


@pytest.fixture(scope="module")
def maps(label_map_folder):
    files = [label_map_folder / f"phantom_{name}.npz" for name in "abc"]
    return align_label_maps(load_label_maps(files, label_map_folder))


# --- synthetic pairs -----------------------------------------------------------------------------------------


@pytest.fixture
def synthetic(maps_recipe, tmp_path):
    return prepared(maps_recipe, tmp_path).method


def test_drawn_labels_are_as_many_as_asked_for_with_half_the_resolution(synthetic):
    pair = synthetic.training.draw(3, generator())
    assert pair.moving.shape == pair.fixed.shape == (1, 1, 8, 12, 8)
    assert pair.moving_labels.shape == pair.fixed_labels.shape == (1, 3, 4, 6, 4)


def test_drawn_labels_are_different_ones_and_in_both_images(synthetic):
    for seed in range(10):
        pair = synthetic.training.draw(99, generator(seed))
        count = pair.fixed_labels.shape[1]
        assert 5 < count < 30
        assert bool((pair.fixed_labels.sum((2, 3, 4)) > 0).all())
        # No voxel is filled more than once.
        assert float(pair.fixed_labels.sum(1).max()) <= 1.0 + 1e-6


def test_held_out_pairs_are_always_the_same_and_of_two_anatomies(synthetic):
    first, again = (list(synthetic.validation()) for _ in range(2))
    assert len(first) == 4
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.moving, other.moving)
        assert torch.equal(one.fixed_labels, other.fixed_labels)
        assert not torch.equal(one.moving_labels, one.fixed_labels)


def test_compact_images_equal_the_drawn_ones_and_can_be_mirrored(maps):
    (sample,) = Synthesiser(Synthesis(), (8, 12, 8), 4.0).group(maps, 1, generator())
    image, labels = SyntheticImage.from_sample(sample).restore(False)
    torch.testing.assert_close(image, sample.image, atol=1e-3, rtol=0)
    torch.testing.assert_close(labels, downsample(partial_volume_labels(sample.anatomy), 2), atol=1e-6, rtol=0)
    flipped_image, flipped_labels = SyntheticImage.from_sample(sample).restore(True)
    assert torch.equal(flipped_image.flip(4), image)
    # The left white matter of the mirrored head is where the right one's was.
    left, right = (channel_lookup()[number] for number in (2, 41))
    assert float(labels[:, right].sum()) > 0
    assert torch.equal(flipped_labels[:, left].flip(3), labels[:, right])


def test_images_lie_in_one_piece_of_memory_and_are_those_that_were_drawn(maps):
    synthesiser = Synthesiser(Synthesis(), (8, 12, 8), 4.0)
    pool = SyntheticImages(maps, synthesiser, 16, seed=1)
    kept = [image for group in pool.groups for image in group]
    draws = generator(1)
    drawn = [SyntheticImage.from_sample(sample) for _ in range(2) for sample in synthesiser.group(maps, 8, draws)]
    for one, other in zip(kept, drawn, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.labels, other.labels)
        assert (one.contrast, one.number) == (other.contrast, other.number)
    assert len({image.labels.untyped_storage().data_ptr() for image in kept}) == 1
    assert len({image.labels.data_ptr() for image in kept}) == 16


def test_paired_images_are_of_one_group_and_of_other_anatomies_and_contrasts(maps):
    settings = Synthesis(same_anatomy_chance=0.0, same_contrast_chance=0.0, t2_share=0.4, random_share=0.0)
    images = SyntheticImages(maps, Synthesiser(settings, (8, 12, 8), 4.0), 17, seed=1)
    assert [len(group) for group in images.groups] == [8, 8, 8]
    numbers = set()
    for seed in range(40):
        moving, fixed = images.draw(generator(seed))
        assert [{id(moving), id(fixed)} <= set(map(id, group)) for group in images.groups].count(True) == 1
        assert moving.number != fixed.number
        assert moving.contrast != fixed.contrast
        numbers |= {(moving.number, fixed.number)}
    assert len(numbers) == 6
    same = Synthesiser(replace(settings, same_contrast_chance=1.0), (8, 12, 8), 4.0)
    same_contrast = SyntheticImages(maps, same, 8, seed=1)
    moving, fixed = same_contrast.draw(generator())
    assert moving.contrast == fixed.contrast
    assert moving is not fixed


def test_training_with_a_stop_ends_as_training_without(maps_recipe, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    Trainer(maps_recipe, whole, "cpu").run()
    run_with_a_stop(maps_recipe, parts, after=2)
    assert_same_run(whole, parts)
    assert set(state_of(whole / "checkpoint.pt")["rows"][0]) == {
        "step", "training_labels", "training_features", "training_roughness",
        "dice_before", "validation_dice", "folding_percent",
    }  # fmt: skip


# --- the user's cases ---------------------------------------------------------------------------------------


def loaded_case(labels=3):
    """A case whose image is the first of its labels."""
    masks = torch.rand(labels, 28, 32, 28, generator=generator()) > 0.5
    pairs = [(Label.from_fractions(mask.float()), Label.from_fractions(mask.flip(0).float())) for mask in masks]
    return Case(masks[:1].float()[None], masks[:1].flip(1).float()[None], pairs)


def test_each_image_is_moved_together_with_its_labels():
    cases = LabelledCases([loaded_case(1)], replace(Augmentation(), gamma=0.0), 2.0)
    pair = cases.draw(1, generator())
    inner = (slice(None), slice(None), *[slice(10, -10)] * 3)
    torch.testing.assert_close(pair.moving[inner], pair.moving_labels[inner], atol=1e-5, rtol=0)
    torch.testing.assert_close(pair.fixed[inner], pair.fixed_labels[inner], atol=1e-5, rtol=0)
    # Each by a field of its own, and another one next time.
    assert float((pair.moving.flip(2) - pair.fixed).abs().max()) > 0.1
    assert float((cases.draw(1, generator(1)).moving - pair.moving).abs().max()) > 0.1


def test_a_case_with_fewer_labels_than_asked_for_gives_all_it_has():
    cases = LabelledCases([loaded_case(2), loaded_case(5)], STILL, 2.0)
    counts = {cases.draw(3, generator(seed)).fixed_labels.shape[1] for seed in range(20)}
    assert counts == {2, 3}


def test_held_out_cases_are_as_they_are():
    (pair,) = LabelledCases([loaded_case()], Augmentation(), 2.0).validation_pairs()
    assert torch.equal(pair.moving, loaded_case().moving)
    assert pair.moving_labels.shape[1] == 3


def test_cases_may_have_different_and_incomplete_labels(patients, tmp_path):
    method = prepared(read_recipe(patients / "recipe.toml"), tmp_path).method
    # Six parts and a point; three parts; six parts.
    assert [len(case.labels) for case in method.training.cases] == [7, 3]
    assert [pair.fixed_labels.shape[1] for pair in method.validation()] == [6]
    for case in method.training.cases:
        assert [size % 4 for size in case.fixed.shape[2:]] == [0, 0, 0]
        assert case.moving.shape == case.fixed.shape


def test_alignment_brings_the_moving_image_and_its_labels_near(patients, tmp_path, monkeypatch):
    small = Affine.from_parts(np.diag(SHRINKING), (0.0, 0.0, 0.0))
    bent = Affine.from_parts(np.diag(SHRINKING * STRETCH), SHIFT)
    monkeypatch.setattr(label_pairs, "optimise_affine", lambda fixed, moving: small.then(bent.inverse()))
    recipe = read_recipe(patients / "recipe.toml")
    dice = []
    for align in (False, True):
        trainer = prepared(changed(recipe, "data", align_cases=align), tmp_path)
        dice.append(trainer.method.validate(trainer.network)["dice_before"])
    assert dice[0] < 0.6
    assert dice[1] > 0.8


@pytest.mark.slow
def test_training_on_one_pair_gives_a_model_that_registers_it(patients, tmp_path):
    output = tmp_path / "model"
    assert main(["train", str(patients / "recipe.toml"), "--output", str(output), "--quiet", "--device", "cpu"]) == 0
    rows = state_of(output / "checkpoint.pt")["rows"]
    assert rows[-1]["training_labels"] < rows[0]["training_labels"]
    # Measured: it rises by 0.35.
    assert rows[-1]["validation_dice"] > rows[-1]["dice_before"] + 0.2
    assert rows[-1]["folding_percent"] == 0.0
    files = {name: str(patients / "held out" / f"{name}.nii.gz") for name in ("fixed", "moving", "moving_parts")}
    results = tmp_path / "results"
    options = ["--model", str(output / "model.pt"), "--mode", "fast", "--no-affine", "--quiet", "--device", "cpu"]
    options += ["--moving-labels", files["moving_parts"], "--output", str(results)]
    assert main(["register", files["fixed"], files["moving"], *options]) == 0
    report = json.loads((results / "report.json").read_text())
    assert report["models"] == [load_model(str(output / "model.pt")).description("registration")]
    assert report["models"][0]["name"] == "phantom"
    wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(patients / "held out" / "fixed_parts.nii.gz")))
    before = sitk.GetArrayFromImage(sitk.ReadImage(files["moving_parts"]))
    after = sitk.GetArrayFromImage(sitk.ReadImage(str(results / "fixed_labels.nii.gz")))
    dice = [np.mean(list(dice_by_label(wanted, labels).values())) for labels in (before, after)]
    assert dice[1] > dice[0] + 0.1


# --- what counts ---------------------------------------------------------------------------------------------


def test_losses_are_weighted_and_those_without_weight_left_out(maps_recipe, tmp_path):
    def losses(**weak):
        method = prepared(changed(maps_recipe, "weak_supervision", **weak), tmp_path).method
        return {name: float(loss.detach()) for name, loss in method.losses(0, generator()).items()}

    plain = losses()
    assert set(plain) == {"labels", "features", "roughness"}
    both = losses(label_weight=2.0, similarity_weight=0.5, feature_weight=1.0)
    assert both["features"] == pytest.approx(2.0 * plain["features"], rel=1e-5)
    assert both["labels"] == pytest.approx(2.0 * plain["labels"], rel=1e-5)
    alone = losses(label_weight=0.0, similarity_weight=1.0, feature_weight=0.0)
    assert set(alone) == {"similarity", "roughness"}
    assert alone["similarity"] == pytest.approx(2.0 * both["similarity"], rel=1e-5)


def test_cases_without_held_out_ones_or_in_both_sets_are_refused(patients, tmp_path):
    recipe = read_recipe(patients / "recipe.toml")
    with pytest.raises(InputError, match=r"at least one case in the recipe's .* validation_cases"):
        prepared(changed(recipe, "data", validation_cases=()), tmp_path)
    with pytest.raises(InputError, match="is used for both training and validation"):
        prepared(changed(recipe, "data", validation_cases=("training",)), tmp_path)


def test_case_without_a_common_label_is_named(patients, tmp_path):
    case = tmp_path / "training" / "one"
    case.mkdir(parents=True)
    for role, number in (("moving", 4), ("fixed", 5)):
        image = sitk.ReadImage(str(patients / "held out" / f"{role}.nii.gz"))
        sitk.WriteImage(image, str(case / f"{role}.nii.gz"))
        sitk.WriteImage(sitk.Cast(image > 50, sitk.sitkUInt8) * number, str(case / f"{role}_part.nii.gz"))
    recipe = replace(read_recipe(patients / "recipe.toml"), folder=tmp_path)
    recipe = changed(recipe, "data", validation_cases=(str(patients / "validation.csv"),))
    with pytest.raises(InputError, match="one: its images have no label in common"):
        prepared(recipe, tmp_path)
