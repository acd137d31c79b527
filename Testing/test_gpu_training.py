"""Training on a machine that is lent for some minutes: packing for it, and going on from where the time ended."""

import shutil
from dataclasses import replace
from time import monotonic

import numpy as np
import pack_training
import pytest
import SimpleITK as sitk
import train_stages
from pack_training import STAGES, pack, with_compact_maps
from phantoms import affine_matrix, rotation_about
from test_semi_supervised import RECIPE, numbers_image
from train_stages import TimeIsSpentError, train_stage

from SLSFGRLib.models.loading import load_model
from SLSFGRLib.training import read_recipe
from SLSFGRLib.training.methods import semi_supervised


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Label maps of four dolls and one image, as they lie in the folder of data."""
    data = tmp_path_factory.mktemp("data")
    for folder in ("brain_labels", "oasis"):
        (data / folder).mkdir()
    for number in range(4):
        linear = 3.2 * rotation_about((1, number, 2), 4 * number) @ np.diag([1, 1 + 0.03 * number, 1])
        image = numbers_image((44, 52, 42), matrix=affine_matrix(linear))
        sitk.WriteImage(image, str(data / "brain_labels" / f"training_seg_0{number + 1}.nii.gz"))
    sitk.WriteImage(image, str(data / "oasis" / "oasis_a.nii.gz"))
    return data


@pytest.fixture(scope="module")
def packed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    pack(data, folder)
    return folder


@pytest.fixture
def machine(packed, tmp_path, monkeypatch):
    """What was packed, with small recipes in place of the real ones, and the folder for what is to be brought back."""
    monkeypatch.setenv("SLSFGR_DATA", str(tmp_path / "machine"))
    monkeypatch.setattr(semi_supervised, "VALIDATION_ROUNDS", 1)
    folder, output = tmp_path / "machine", tmp_path / "out"
    shutil.copytree(packed, folder)
    maps = 'maps = ["${SLSFGR_DATA}/brain_labels/training_seg_0'
    small = RECIPE.replace('training_maps = ["doll_[ab].npz', f"training_{maps}[12].nii.gz")
    small = small.replace('validation_maps = ["doll_[cd].npz', f"validation_{maps}[34].nii.gz")
    (folder / "first.toml").write_text(with_compact_maps(small))
    (folder / "second.toml").write_text(
        with_compact_maps(small.replace("steps = 7", 'steps = 3\nstart = "first/model.pt"'))
    )
    return folder, output


def later():
    return monotonic() + 1000.0


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


def test_each_stage_begins_with_the_one_before():
    names = list(STAGES)
    starts = [read_recipe(pack_training.RECIPES / recipe).training.start for recipe in STAGES.values()]
    assert starts == ["", *(f"{name}/model.pt" for name in names[:-1])]


def test_stages_are_trained_one_after_the_other(machine):
    folder, output = machine
    train_stage("first", folder / "first.toml", output, later())
    train_stage("second", folder / "second.toml", output, later())
    assert sorted(file.name for file in output.iterdir()) == [
        "first.curve.csv",
        "first.model.pt",
        "second.curve.csv",
        "second.model.pt",
    ]
    assert (output / "first.model.pt").read_bytes() == (folder / "first" / "model.pt").read_bytes()
    assert load_model(str(output / "second.model.pt")).name == "doll"
    assert (output / "first.curve.csv").read_text() == (folder / "first" / "curve.csv").read_text()


def test_a_stage_goes_on_where_the_time_ended_on_a_fresh_machine(machine, tmp_path, monkeypatch):
    folder, output = machine
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    (tmp_path / "expected").mkdir()
    train_stage("first", whole / "first.toml", tmp_path / "expected", later())

    def clock():
        """The time ends with the second checkpoint, after step 4."""
        curve = folder / "first" / "curve.csv"
        return 2000.0 if curve.is_file() and len(curve.read_text().splitlines()) > 2 else 0.0

    with monkeypatch.context() as patch:
        patch.setattr(train_stages, "monotonic", clock)
        with pytest.raises(TimeIsSpentError, match="first: stopped at step 5"):
            train_stage("first", folder / "first.toml", output, 1000.0)
    brought_back = sorted(file.name for file in output.iterdir())
    assert brought_back == ["first.checkpoint.pt", "first.curve.csv", "first.model.pt"]
    shutil.rmtree(folder / "first")
    shutil.move(output, folder / "state")
    output.mkdir()
    train_stage("first", folder / "first.toml", output, later())
    assert (output / "first.curve.csv").read_text() == (tmp_path / "expected" / "first.curve.csv").read_text()


def test_a_stage_that_is_done_is_not_trained_again(machine, monkeypatch):
    folder, output = machine
    train_stage("first", folder / "first.toml", output, later())
    shutil.rmtree(folder / "first")
    shutil.move(output, folder / "state")
    output.mkdir()
    monkeypatch.setattr(train_stages, "Trainer", lambda *arguments: pytest.fail("was trained again"))
    train_stage("first", folder / "first.toml", output, later())
    assert (output / "first.model.pt").read_bytes() == (folder / "state" / "first.model.pt").read_bytes()
