"""Load models: a file that is none is refused, and the bundled models are intact."""

import hashlib
import os
import pickle

import pytest
import torch
from fake_models import MODEL_SETTINGS, random_model

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.resources import MULTIMODAL, SEGMENTATION_MODEL, model_path
from SLSFGRLib.models.loading import default_model, load_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.version import VERSION

SL_SFGR_OPTIONS = {"structures": 30, "channels": [3, 4, 4, 4], "matching_channels": 4}


def test_loaded_model_gives_bit_for_bit_the_same_fields(model_file):
    loaded = load_model(str(model_file))
    pair = torch.rand(2, 1, 1, 24, 32, 40, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad():
        for expected, found in zip(random_model().network(*pair), loaded.network(*pair), strict=True):
            assert expected.abs().max() > 0.1
            assert torch.equal(found, expected)


def test_loaded_model_has_its_settings_and_the_checksum_of_its_file(model_file):
    loaded = load_model(str(model_file))
    assert loaded.settings == MODEL_SETTINGS
    assert loaded.is_trained
    assert loaded.name == "test"
    sha256 = hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert loaded.description("registration") == {
        "role": "registration",
        "name": "test",
        "version": VERSION,
        "sha256": sha256,
    }


def test_file_with_code_in_it_is_refused_and_the_code_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    for number, write in enumerate((torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2)))):
        path = tmp_path / f"{number}.pt"
        write({"format": 1, "name": Trap(), "settings": {}, "weights": {}}, path)
        with pytest.raises(InputError, match=r"\.pt: is not a model file"):
            load_model(str(path))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"hello world\n" * 10, bytes(range(256)) * 9, b"PK\x03\x04" + bytes(500)])
def test_garbage_is_refused(tmp_path, content):
    (tmp_path / "garbage.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"garbage\.pt: is not a model file"):
        load_model(str(tmp_path / "garbage.pt"))


@pytest.mark.parametrize("content", [[1, 2], {"format": 1}, {"some": torch.zeros(3)}])
def test_torch_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match="is not a model file"):
        load_model(str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"weights": {}}, "do not fit together"),
        ({"settings": {"network": "unet"}}, "network 'unet': there is none"),
        ({"settings": {"factor": 3}}, "factor: must be one of 1, 2, 4, 8, not 3"),
        ({"settings": {"network_options": {"depth": 3}}}, "does not take these options"),
        ({"settings": {"network_options": {"channels": [8, 8, 8]}}}, "do not fit together"),
        ({"settings": {"colour": "red"}}, "do not fit together"),
        ({"settings": 7}, "do not fit together"),
        ({"preparation": 0}, "was trained on images that were prepared in another way; train it again"),
        ({"structures": ["Left toe"]}, "finds other structures than those in Resources/labels.csv"),
    ],
)
def test_changed_file_is_refused_with_its_name(model_file, change, message):
    torch.save(torch.load(model_file, weights_only=True) | change, model_file)
    with pytest.raises(InputError, match=f"model.pt: .*{message}"):
        load_model(str(model_file))


def test_name_that_is_neither_file_nor_system_is_refused():
    with pytest.raises(
        InputError, match=r"nothing\.pt: there is no such model file; give one, sl_sfgr, multimodal or li_fan\."
    ):
        load_model("nothing.pt")


@pytest.mark.parametrize("name", ["li_fan", "multimodal", "sl_sfgr"])
def test_file_of_the_same_name_takes_precedence(model_file, monkeypatch, name):
    monkeypatch.chdir(model_file.parent)
    model_file.rename(name)
    assert load_model(name).settings == MODEL_SETTINGS


def test_files_of_the_first_versions_are_still_read(model_file):
    content = torch.load(model_file, weights_only=True)
    del content["preparation"], content["structures"], content["version"]
    del content["settings"]["pair_steps"], content["settings"]["refine_from_mm"]
    torch.save(content, model_file)
    loaded = load_model(str(model_file))
    assert loaded.settings.pair_steps == ModelSettings().pair_steps
    assert loaded.settings.refine_from_mm == 2.0
    assert loaded.version == "unknown"


def test_a_pyramid_is_read_as_it_was_saved(tmp_path):
    settings = ModelSettings(network_options={"channels": [3, 4, 5], "forces": True}, pyramid=(4, 2), rounds=3)
    Model("test", settings, settings.build()).save(tmp_path / "model.pt")
    assert load_model(str(tmp_path / "model.pt")).settings == settings


def test_first_version_of_sl_sfgr_is_refined_from_4_mm_on(tmp_path):
    settings = ModelSettings(network="sl_sfgr", network_options=SL_SFGR_OPTIONS, refine_from_mm=1.0)
    path = tmp_path / "model.pt"
    Model("test", settings, settings.build()).save(path)
    assert load_model(str(path)).settings.refine_from_mm == 1.0
    content = torch.load(path, weights_only=True)
    del content["settings"]["refine_from_mm"]
    torch.save(content, path)
    assert load_model(str(path)).settings.refine_from_mm == 4.0


def test_bundled_multimodal_model_uses_no_instance_optimisation():
    bundled = load_model("multimodal")
    assert bundled.name == "multimodal"
    assert bundled.settings.network == "hu_local"
    assert not bundled.uses_instance_optimisation
    # Read once in a session.
    assert load_model("multimodal") is bundled


@pytest.mark.parametrize("name", [SEGMENTATION_MODEL, MULTIMODAL])
def test_no_bundled_model_is_trained_on_a_pair(name):
    # `slsfgr register` loads torch for them in a way in which it cannot train.
    assert not load_model(name).uses_instance_optimisation


def test_both_bundled_models_take_less_than_ten_megabytes():
    assert sum(path.stat().st_size for path in map(model_path, (SEGMENTATION_MODEL, MULTIMODAL))) < 10e6


@pytest.mark.parametrize("load", [default_model, lambda: load_model("multimodal")])
def test_installation_without_weights_says_so(monkeypatch, tmp_path, load):
    monkeypatch.setattr("SLSFGRLib.io.resources.resource_path", tmp_path.joinpath)
    with pytest.raises(InputError, match="this installation has no trained weights of the model"):
        load()


@pytest.mark.parametrize("damaged", [False, True])
def test_bundled_weights_are_checked(monkeypatch, tmp_path, damaged):
    folder = tmp_path / "Models"
    folder.mkdir()
    weights = folder / "sl_sfgr.pt"
    Model.untrained().save(weights)
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "sl_sfgr.pt.sha256").write_text(f"{'0' * 64 if damaged else checksum}  sl_sfgr.pt\n")
    monkeypatch.setattr("SLSFGRLib.io.resources.resource_path", tmp_path.joinpath)
    if damaged:
        with pytest.raises(InputError, match=r"sl_sfgr\.pt: is damaged; install SLSFGR again"):
            default_model()
    else:
        assert default_model().sha256 == checksum
        # Read once in a session, as long as the file is the same.
        assert default_model() is default_model()
        os.utime(weights, ns=(1, 1))
        assert default_model() is default_model()


def test_weights_for_other_contrasts_are_read_as_they_were_saved(tmp_path):
    settings = ModelSettings(network="sl_sfgr", network_options={"structures": 30, "channels": [3, 4, 4, 4]})
    first, others = settings.build(), settings.build()
    path = tmp_path / "model.pt"
    Model("test", settings, first, other_contrasts=others).save(path)
    networks = load_model(str(path)).segmenter(torch.device("cpu"))
    for found, expected, digits in ((networks.t1, first, 0.0), (networks.others, others, 1e-3)):
        for one, other in zip(found.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=digits)
            assert one.dtype == torch.float32
    torch.save(torch.load(path, weights_only=True) | {"other_contrasts": {}}, path)
    with pytest.raises(InputError, match="do not fit together"):
        load_model(str(path))
