import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from SLSFGRLib.coordinates import Grid
from SLSFGRLib.errors import InputError
from SLSFGRLib.fields import downsample, resize_field, smooth
from SLSFGRLib.label_table import read_label_table
from SLSFGRLib.models import Model, ModelSettings, load_model
from SLSFGRLib.preparation import PreparedImage

SHAPE = (24, 32, 40)
SETTINGS = ModelSettings(
    network_options={"channels": [3, 4, 5], "diffeomorphic": True},
    factor=2,
    similarity="lncc",
    penalty="gradient",
    roughness=0.1,
    level_weights=(0.5, 0.5, 1.0),
    pair_steps=12,
    pair_learning_rate=0.02,
)


def model():
    """A model whose weights are all random, as after some training."""
    torch.manual_seed(0)
    network = SETTINGS.build()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Model("test", SETTINGS, network)


def image(seed):
    noise = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return PreparedImage(3.0 * smooth(noise, 2.0) - 1.0, Grid(SHAPE, np.eye(4)))


def field_of(some_model, fixed, moving, matrix=None, mode="fast"):
    with torch.no_grad():
        return some_model.field(fixed, moving, np.eye(4) if matrix is None else matrix, mode, lambda fraction: None)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.pt"
    model().save(path)
    return path


def test_loaded_model_gives_bit_for_bit_the_same_fields(file):
    loaded = load_model(str(file))
    pair = image(0).tensor, image(1).tensor
    with torch.no_grad():
        for expected, found in zip(model().network(*pair), loaded.network(*pair), strict=True):
            assert expected.abs().max() > 0.1
            assert torch.equal(found, expected)


def test_loaded_model_has_its_settings_and_the_checksum_of_its_file(file):
    loaded = load_model(str(file))
    assert loaded.settings == SETTINGS
    assert loaded.is_trained
    assert loaded.name == "test"
    assert loaded.description()["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_file_holds_no_code(file):
    content = torch.load(file, weights_only=True)
    assert set(content) == {"format", "name", "version", "settings", "preparation", "structures", "weights"}


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


def test_truncated_file_is_refused(file):
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(InputError, match="is not a model file"):
        load_model(str(file))


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
        ({"preparation": 0}, "learned from images that were prepared in another way; train it again"),
        ({"structures": ["Left toe"]}, "finds other structures than those in Resources/labels.csv"),
    ],
)
def test_changed_file_is_refused_with_its_name(file, change, message):
    torch.save(torch.load(file, weights_only=True) | change, file)
    with pytest.raises(InputError, match=f"model.pt: .*{message}"):
        load_model(str(file))


def test_name_that_is_neither_file_nor_system_is_refused():
    with pytest.raises(InputError, match=r"nothing\.pt: there is no such model file.*li_fan"):
        load_model("nothing.pt")


def test_untrained_system_always_has_the_same_weights_and_leaves_chance_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = load_model("li_fan")
    assert torch.equal(torch.rand(3), expected)
    second = load_model("li_fan")
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_one_pass_of_an_untrained_system_is_refused():
    with pytest.raises(InputError, match=r"model 'li_fan': is untrained.*use standard"):
        field_of(load_model("li_fan"), image(0), image(1))


def test_fast_mode_is_one_pass_at_the_networks_resolution(file):
    fixed, moving = image(0), image(1)
    loaded = load_model(str(file))
    with torch.no_grad():
        expected = loaded.network(downsample(moving.tensor, 2), downsample(fixed.tensor, 2))[-1]
    torch.testing.assert_close(field_of(loaded, fixed, moving), expected, atol=1e-3, rtol=0)


def test_moving_image_is_brought_along_by_the_matrix_first(file):
    fixed, moving = image(0), image(1)
    loaded = load_model(str(file))
    expected = field_of(loaded, fixed, moving)
    # The same image with its first axis reversed and its last axis first.
    turned = PreparedImage(moving.tensor.flip(2).permute(0, 1, 4, 2, 3), moving.grid)
    matrix = np.array([[0, 0, 1, 0], [-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(field_of(loaded, fixed, turned, matrix), expected, atol=1e-3, rtol=0)
    assert (field_of(loaded, fixed, image(2)) - expected).abs().max() > 0.01


def test_learning_on_a_pair_leaves_the_model_as_it_was(file):
    loaded = load_model(str(file))
    before = {name: weight.clone() for name, weight in loaded.network.state_dict().items()}
    learned = field_of(loaded, image(0), image(1), mode="standard")
    for name, weight in loaded.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert (learned - field_of(loaded, image(0), image(1))).abs().max() > 0.05


def test_further_learning_lowers_the_loss_of_the_pair(file):
    loaded = load_model(str(file))
    fixed, moving = downsample(image(0).tensor, 2), downsample(image(1).tensor, 2)
    loss = {}
    for mode in ("fast", "standard"):
        field = field_of(loaded, image(0), image(1), mode=mode)
        loss[mode] = float(SETTINGS.objective()([field] * 3, moving, fixed)["loss"])
    assert loss["standard"] < 0.97 * loss["fast"]


@pytest.mark.parametrize("mode", ["fast", "standard"])
def test_sizes_that_the_network_does_not_take_are_extended_and_cut_again(mode):
    settings = replace(
        SETTINGS,
        network="sl_sfgr",
        network_options={"structures": 2, "channels": [3, 4, 4, 4], "matching_channels": 4},
        pair_steps=2,
    )
    torch.manual_seed(0)
    network = settings.build()
    for refinement in network.refinements:
        torch.nn.init.normal_(refinement.layers[-1].weight, std=0.2)
    field = field_of(Model("test", settings, network, "some sum"), image(0), image(1), mode=mode)
    assert field.shape == (1, 3, 12, 16, 20)
    assert field.abs().max() > 0.1
    if mode == "fast":
        extended = [
            torch.nn.functional.pad(downsample(image(seed).tensor, 2), (0, 4, 0, 0, 0, 4), mode="replicate")
            for seed in (1, 0)
        ]
        with torch.no_grad():
            expected = resize_field(network(*extended)[-1], (16, 16, 24))
        torch.testing.assert_close(field, expected[:, :, :12, :, :20], atol=1e-3, rtol=0)


def test_model_that_segments_carries_its_structures(tmp_path):
    options = {"structures": 30, "channels": [3, 4, 4, 4], "matching_channels": 4}
    settings = ModelSettings(network="sl_sfgr", network_options=options)
    Model("test", settings, settings.build()).save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content["structures"] == [structure.name for structure in read_label_table()]
    content["structures"][:2] = content["structures"][1::-1]
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: finds other structures"):
        load_model(str(tmp_path / "model.pt"))


def test_models_of_the_first_versions_are_still_read(file):
    content = torch.load(file, weights_only=True)
    del content["preparation"], content["structures"], content["settings"]["pair_steps"]
    torch.save(content, file)
    assert load_model(str(file)).settings.pair_steps == ModelSettings().pair_steps


def weakly_supervised():
    """A model of Hu et al. that does not learn on pairs, with weights as after some training."""
    torch.manual_seed(0)
    settings = ModelSettings(network="hu", network_options={"channels": [4, 6], "global_channels": [4]}, pair_steps=0)
    network = settings.build()
    for name, parameter in network.named_parameters():
        if "trust" in name or "logarithm" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return Model("hu", settings, network, "some sum")


def test_model_that_does_not_learn_on_pairs_makes_one_pass_in_every_mode():
    fast, standard = (field_of(weakly_supervised(), image(0), image(1), mode=mode) for mode in ("fast", "standard"))
    assert fast.abs().max() > 0.1
    assert torch.equal(fast, standard)
    assert fast.shape == (1, 3, 12, 16, 20)


def test_coarsely_prepared_images_are_not_made_coarser_than_the_network_knows():
    coarse = [replace(image(seed), grid=Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))) for seed in (0, 1)]
    made = weakly_supervised()
    found = field_of(made, *coarse)
    with torch.no_grad():
        expected = resize_field(made.network(image(1).tensor, image(0).tensor)[-1], SHAPE)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("factor", "spacing", "expected"), [(2, 1.0, 2), (2, 2.0, 1), (4, 2.0, 2), (4, 1.1, 4), (4, 1.5, 2), (1, 2.0, 1)]
)
def test_factor_is_the_one_that_comes_nearest_to_the_networks_voxels(factor, spacing, expected):
    assert ModelSettings(factor=factor).factor_for(spacing) == expected
