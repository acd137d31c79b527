from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_models import MODEL_SETTINGS

from SLSFGRLib.errors import InputError
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.registration.schedules import SCHEDULES
from SLSFGRLib.spatial.fields import downsample, resize_field, smooth
from SLSFGRLib.spatial.grid import Grid

SHAPE = (24, 32, 40)


def image(seed):
    noise = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return PreparedImage(3.0 * smooth(noise, 2.0) - 1.0, Grid(SHAPE, np.eye(4)))


def field_of(some_model, fixed, moving, matrix=None, mode="fast"):
    with torch.no_grad():
        return some_model.field(fixed, moving, np.eye(4) if matrix is None else matrix, mode, lambda fraction: None)


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


def test_fast_mode_is_one_pass_at_the_networks_resolution(model_file):
    fixed, moving = image(0), image(1)
    loaded = load_model(str(model_file))
    with torch.no_grad():
        expected = loaded.network(downsample(moving.tensor, 2), downsample(fixed.tensor, 2))[-1]
    torch.testing.assert_close(field_of(loaded, fixed, moving), expected, atol=1e-3, rtol=0)


def test_moving_image_is_brought_along_by_the_matrix_first(model_file):
    fixed, moving = image(0), image(1)
    loaded = load_model(str(model_file))
    expected = field_of(loaded, fixed, moving)
    # The same image with its first axis reversed and its last axis first.
    turned = PreparedImage(moving.tensor.flip(2).permute(0, 1, 4, 2, 3), moving.grid)
    matrix = np.array([[0, 0, 1, 0], [-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(field_of(loaded, fixed, turned, matrix), expected, atol=1e-3, rtol=0)
    assert (field_of(loaded, fixed, image(2)) - expected).abs().max() > 0.01


def test_learning_on_a_pair_leaves_the_model_as_it_was(model_file):
    loaded = load_model(str(model_file))
    before = {name: weight.clone() for name, weight in loaded.network.state_dict().items()}
    learned = field_of(loaded, image(0), image(1), mode="standard")
    for name, weight in loaded.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert (learned - field_of(loaded, image(0), image(1))).abs().max() > 0.05


def test_further_learning_lowers_the_loss_of_the_pair(model_file):
    loaded = load_model(str(model_file))
    fixed, moving = downsample(image(0).tensor, 2), downsample(image(1).tensor, 2)
    loss = {}
    for mode in ("fast", "standard"):
        field = field_of(loaded, image(0), image(1), mode=mode)
        loss[mode] = float(MODEL_SETTINGS.objective()([field] * 3, moving, fixed)["loss"])
    assert loss["standard"] < 0.97 * loss["fast"]


@pytest.mark.parametrize("mode", ["fast", "standard"])
def test_sizes_that_the_network_does_not_take_are_extended_and_cut_again(mode):
    settings = replace(
        MODEL_SETTINGS,
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


@pytest.mark.parametrize(
    ("network", "factor", "allowed", "spacings"),
    [
        # SL-SFGR's finest field has every second voxel of what it sees.
        ("sl_sfgr", 2, slice(None), (2.0, 1.0)),
        ("sl_sfgr", 1, slice(None), (1.0,)),
        ("hu", 2, slice(None), (1.0,)),
        ("hu", 2, slice(-1), (2.0,)),  # the memory does not suffice for more
    ],
)
def test_a_field_is_refined_where_the_network_was_coarser(network, factor, allowed, spacings):
    options = {"structures": 2, "channels": [3, 4, 4, 4], "matching_channels": 4} if network == "sl_sfgr" else {}
    settings = ModelSettings(network=network, network_options=options, factor=factor, pair_steps=0)
    levels = Model("test", settings, settings.build()).refining(SCHEDULES["standard"][allowed])
    assert tuple(level.spacing for level in levels) == spacings


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
