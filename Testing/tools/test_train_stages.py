"""Training for a limited time on another machine: packing the data, and continuing from where the time ended."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine_matrix, numbers_image, rotation_about

from SLSFGRLib import load_model
from SLSFGRLib.training import read_recipe
from tools.pack_training import RECIPES, STAGES, pack
from tools.train_stages import TimeIsSpentError, train_stage

# Takes a second to train.
RECIPE = """
name = "small"
[model]
network = "sl_sfgr"
factor = 2
[model.network_options]
structures = 30
channels = [4, 6, 8, 8]
matching_channels = 4
[data]
training_maps = ["${SLSFGR_DATA}/brain_labels/training_seg_0[12]_*.npz"]
validation_maps = ["${SLSFGR_DATA}/brain_labels/training_seg_0[34]_*.npz"]
[supervision]
shape = [16, 24, 16]
segmentation_steps = 2
real_pairs = 0.0
[training]
method = "semi_supervised"
seed = 3
steps = 5
validate_every = 2
"""


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """No pictures are drawn, which takes a second after each validation: nobody fetches them from the machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_curve", "draw_samples"):
            patch.setattr(f"SLSFGRLib.training.trainer.{name}", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Four label maps and one image, packed for another machine."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("packed")
    for name in ("brain_labels", "oasis"):
        (data / name).mkdir()
    for number in range(4):
        linear = 3.2 * rotation_about((1, number, 2), 4 * number) @ np.diag([1, 1 + 0.03 * number, 1])
        image = numbers_image((44, 52, 42), matrix=affine_matrix(linear))
        sitk.WriteImage(image, str(data / "brain_labels" / f"training_seg_0{number + 1}.nii.gz"))
    sitk.WriteImage(image, str(data / "oasis" / "oasis_a.nii.gz"))
    pack(data, folder)
    return folder


@pytest.fixture(scope="module")
def machine(packed):
    """The packed data with a small recipe in place of the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLSFGR_DATA", str(packed))
        (packed / "first.toml").write_text(RECIPE)
        (packed / "second.toml").write_text(RECIPE.replace("steps = 5", 'steps = 2\nstart = "first/model.pt"'))
        yield packed


@pytest.fixture(scope="module")
def trained(machine, tmp_path_factory):
    """A machine on which the first stage has been trained, and the results."""
    output = tmp_path_factory.mktemp("output")
    train_stage("first", machine / "first.toml", output, never)
    return machine, output


@pytest.fixture
def fresh(machine, tmp_path):
    """Return a machine that has nothing of the training but some earlier results, and a folder for new ones."""

    def with_state(results):
        for file in ("first.toml", "second.toml"):
            shutil.copyfile(machine / file, tmp_path / file)
        shutil.copytree(results, tmp_path / "state")
        return tmp_path, tmp_path / "output"

    return with_state


def never():
    return False


def always():
    return True


def test_packed_recipes_name_the_files_beside_them(packed, monkeypatch):
    monkeypatch.setenv("SLSFGR_DATA", str(packed))
    for recipe in STAGES.values():
        found = replace(read_recipe(packed / recipe), folder=packed)
        for part in ("training_maps", "validation_maps"):
            assert all("/brain_labels/" in pattern for pattern in getattr(found.data, part))
            assert all(pattern.endswith("_*.npz") for pattern in getattr(found.data, part))
        assert found.data.training in ((), ("${SLSFGR_DATA}/oasis/oasis_[a-d].nii.gz",))
    assert [file.name for file in read_recipe(packed / STAGES["last"]).files("training")] == ["oasis_a.nii.gz"]
    assert sorted(file.name[:15] for file in (packed / "brain_labels").iterdir()) == [
        f"training_seg_0{number}" for number in (1, 2, 3, 4)
    ]


def test_each_stage_starts_from_the_one_before():
    names = list(STAGES)
    starts = [read_recipe(RECIPES / recipe).training.start for recipe in STAGES.values()]
    assert starts == ["", *(f"{name}/model.pt" for name in names[:-1])]


def test_the_second_stage_starts_from_the_model_of_the_first(trained, fresh):
    folder, output = fresh(trained[1])
    for stage in ("first", "second"):
        train_stage(stage, folder / f"{stage}.toml", output, never)
    assert (output / "first.model.pt").read_bytes() == (trained[1] / "first.model.pt").read_bytes()
    assert sorted(file.name for file in output.iterdir()) == ["first.model.pt", "second.curve.csv", "second.model.pt"]
    assert load_model(str(output / "second.model.pt")).name == "small"


def test_a_complete_stage_is_not_trained_again(trained, fresh):
    folder, output = fresh(trained[1])
    # A training would be stopped at its first step.
    train_stage("first", folder / "first.toml", output, always)
    assert (output / "first.model.pt").read_bytes() == (trained[1] / "first.model.pt").read_bytes()


def test_a_stage_continues_on_a_fresh_machine_as_if_it_had_not_been_stopped(trained, fresh, tmp_path_factory):
    stopped, results = tmp_path_factory.mktemp("stopped"), tmp_path_factory.mktemp("results")
    (stopped / "first.toml").write_text(RECIPE)

    def after_the_second_checkpoint():
        curve = stopped / "first" / "curve.csv"
        return curve.is_file() and len(curve.read_text().splitlines()) > 2

    with pytest.raises(TimeIsSpentError, match="first: stopped at step 5"):
        train_stage("first", stopped / "first.toml", results, after_the_second_checkpoint)
    assert sorted(file.name for file in results.iterdir()) == [
        "first.checkpoint.pt",
        "first.curve.csv",
        "first.model.pt",
    ]
    folder, output = fresh(results)
    train_stage("first", folder / "first.toml", output, never)
    assert (output / "first.curve.csv").read_text() == (trained[1] / "first.curve.csv").read_text()
