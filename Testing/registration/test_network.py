"""The field of a network: one pass, instance optimisation, and which levels of direct optimisation follow."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_models import MODEL_SETTINGS
from phantoms import empty_image

from SLSFGRLib.errors import InputError
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.networks.explicit_refinement import sums_by_tissue
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.registration import network as network_module
from SLSFGRLib.registration.deform import show_t1
from SLSFGRLib.registration.network import START_SIGMA, levels_after, network_field
from SLSFGRLib.registration.network_pyramid import FIELD_SIGMA
from SLSFGRLib.registration.schedules import SCHEDULES
from SLSFGRLib.segmentation.intensity_model import IntensityModel
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import compose, downsample, resize_field, smooth, warp
from SLSFGRLib.spatial.grid import Grid

SHAPE = (24, 32, 40)
SL_SFGR_OPTIONS = {"structures": 2, "channels": [3, 4, 4, 4], "matching_channels": 4}


def subject_of(tensor, spacing=1.0):
    return Subject(empty_image(), PreparedImage(tensor, Grid(tuple(tensor.shape[2:]), np.diag([*[spacing] * 3, 1.0]))))


def subject(seed, spacing=1.0):
    noise = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return subject_of(3.0 * smooth(noise, 2.0) - 1.0, spacing)


def field_of(model, fixed, moving, affine=None, mode="fast"):
    with torch.no_grad():
        return network_field(model, fixed, moving, affine or Affine.identity(), mode)


def coarse(brain):
    return downsample(brain.prepared.tensor, 2)


def test_one_pass_of_an_untrained_system_is_refused():
    with pytest.raises(InputError, match=r"model 'li_fan': is untrained.*use standard"):
        field_of(load_model("li_fan"), subject(0), subject(1))


def test_fast_mode_is_one_pass_at_the_resolution_of_the_network(model_file):
    fixed, moving = subject(0), subject(1)
    model = load_model(str(model_file))
    with torch.no_grad():
        expected = model.network(coarse(moving), coarse(fixed))[-1]
    torch.testing.assert_close(field_of(model, fixed, moving), expected, atol=1e-3, rtol=0)


def test_moving_image_is_aligned_by_the_affine_transform_first(model_file):
    fixed, moving = subject(0), subject(1)
    model = load_model(str(model_file))
    expected = field_of(model, fixed, moving)
    # The same image with its first axis reversed and its last axis first; voxels and mm are the same here.
    turned = subject_of(moving.prepared.tensor.flip(2).permute(0, 1, 4, 2, 3))
    affine = Affine(np.array([[0, 0, 1, 0], [-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 0, 1.0]]))
    torch.testing.assert_close(field_of(model, fixed, turned, affine), expected, atol=1e-3, rtol=0)
    assert (field_of(model, fixed, subject(2)) - expected).abs().max() > 0.01


def test_instance_optimisation_leaves_the_model_as_it_was(model_file):
    model = load_model(str(model_file))
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    optimised = field_of(model, subject(0), subject(1), mode="standard")
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert (optimised - field_of(model, subject(0), subject(1))).abs().max() > 0.05


@pytest.mark.parametrize("mode", ["fast", "standard"])
def test_images_of_sizes_that_the_network_does_not_take_are_padded_and_cropped(mode):
    settings = replace(MODEL_SETTINGS, network="sl_sfgr", network_options=SL_SFGR_OPTIONS, pair_steps=2)
    torch.manual_seed(0)
    network = settings.build()
    for refinement in network.refinements:
        torch.nn.init.normal_(refinement.layers[-1].weight, std=0.2)
    fixed, moving = subject(0), subject(1)
    field = field_of(Model("test", settings, network, "a checksum"), fixed, moving, mode=mode)
    assert field.shape == (1, 3, 12, 16, 20)
    assert field.abs().max() > 0.1
    if mode == "fast":
        padded = [
            torch.nn.functional.pad(coarse(image), (0, 4, 0, 0, 0, 4), mode="replicate") for image in (moving, fixed)
        ]
        with torch.no_grad():
            expected = resize_field(network(*padded)[-1], (16, 16, 24))
        torch.testing.assert_close(field, expected[:, :, :12, :, :20], atol=1e-3, rtol=0)


# --- several resolutions ------------------------------------------------------------------------------------


def pyramid_model(**settings):
    settings = replace(MODEL_SETTINGS, network_options={"channels": [3, 4, 5], "forces": True}, **settings)
    torch.manual_seed(0)
    network = settings.build()
    for head in network.heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    return Model("test", settings, network, "a checksum")


@pytest.mark.parametrize(
    ("mode", "pyramid", "factor"), [("fast", (4, 2, 1), 2), ("standard", (4, 2, 1), 1), ("standard", (), 2)]
)
def test_the_last_resolution_of_a_pyramid_is_left_out_of_one_pass(mode, pyramid, factor):
    model = pyramid_model(pyramid=pyramid, rounds=2, pair_steps=1)
    found = field_of(model, subject(0), subject(1), mode=mode)
    assert found.shape == (1, 3, *(size // factor for size in SHAPE))
    assert found.abs().max() > 0.1


def test_a_pyramid_is_the_network_at_each_resolution_in_turn():
    model = pyramid_model(pyramid=(2, 1), factor=1)
    fixed, moving = subject(0), subject(1)
    whole = fixed.prepared.tensor
    with torch.no_grad():
        start = resize_field(model.network(coarse(moving), coarse(fixed))[-1], SHAPE)
        found = model.network(warp(moving.prepared.tensor, start), whole)[-1]
    expected = smooth(compose(start, found), FIELD_SIGMA)
    torch.testing.assert_close(field_of(model, fixed, moving), expected, atol=1e-3, rtol=0)
    assert (expected - start).abs().max() > 0.1


def test_the_network_learns_at_its_own_resolution_and_not_at_a_finer_one(monkeypatch):
    sizes = []

    def optimise(network, moving, fixed, *_):
        sizes.append(tuple(fixed.shape[2:]))
        return torch.zeros(1, 3, *fixed.shape[2:]), []

    monkeypatch.setattr("SLSFGRLib.registration.network.optimise_network", optimise)
    field_of(pyramid_model(pyramid=(2, 1), rounds=3), subject(0), subject(1), mode="standard")
    assert sizes == [(12, 16, 20)] * 3


def test_resolutions_with_too_few_voxels_are_left_out():
    model = pyramid_model(pyramid=(8, 4, 2))
    alone = pyramid_model(pyramid=(2,))
    assert torch.equal(field_of(model, subject(0), subject(1)), field_of(alone, subject(0), subject(1)))


def test_progress_goes_from_round_to_round():
    fractions = []
    model = pyramid_model(pyramid=(2, 1), rounds=2, pair_steps=2)
    with torch.no_grad():
        network_field(model, subject(0), subject(1), Affine.identity(), "standard", fractions.append)
    assert fractions == sorted(fractions)
    assert sorted(set(fractions)) == [0.0, 0.125, 0.25, 0.375, 0.5, 0.75]


def test_the_untrained_system_finds_a_known_deformation():
    moving = subject(0).prepared.tensor
    field = 1.5 * smooth(torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(3)), 5.0) / 0.02
    field = 2.0 * field / field.abs().max()
    fixed = subject_of(warp(moving, field))
    found = field_of(load_model("li_fan"), fixed, subject_of(moving), mode="standard")
    inner = (..., *[slice(4, -4)] * 3)
    assert (found - field)[inner].norm(dim=1).mean() < 0.45 * field[inner].norm(dim=1).mean()


# --- two brains that were described alone -------------------------------------------------------------------


@pytest.fixture(scope="module")
def describing():
    """A model that describes each brain alone, with explicit steps, and weights as after some training."""
    options = {"structures": 30, "channels": [3, 4, 4, 4], "matching_channels": 4, "explicit_steps": [1, 2]}
    torch.manual_seed(0)
    settings = ModelSettings(network="sl_sfgr", network_options=options, pair_steps=0, refine_from_mm=2.0)
    network = settings.build()
    for refinement in network.refinements:
        torch.nn.init.normal_(refinement.layers[-1].weight, std=0.2)
    for refinement in network.explicit:
        torch.nn.init.constant_(refinement.step.trust, 0.1)
    return Model("test", settings, network, "a checksum")


def described(brain, model):
    with torch.no_grad():
        return brain.segmented(model.segmenter(torch.device("cpu")), describe=True)


def description(brain, is_t1):
    """What the network registers a brain by; its tissue maps follow the intensities, unlike the network's."""
    found = brain.segmentation.described
    maps = brain.averaged.tissues if is_t1 else downsample(brain.tissues, 2)
    tissues = sums_by_tissue(brain.segmentation.posteriors)
    return replace(found.description, appearance=found.appearance(maps[:, :3], tissues))


@pytest.mark.parametrize("is_t1", [True, False])
def test_field_between_described_brains_is_that_of_their_images(describing, monkeypatch, is_t1):
    monkeypatch.setattr(network_module, "show_t1", lambda *brains: is_t1)
    # Sizes that the network takes, so that nothing is padded.
    noise = [torch.rand(1, 1, 32, 48, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    fixed, moving = (subject_of((3.0 * smooth(image, 2.0) - 1.0).clamp(0, 1)) for image in noise)
    fixed, moving = described(fixed, describing), described(moving, describing)
    found = field_of(describing, fixed, moving)
    with torch.no_grad():
        expected = describing.network.match(*(description(brain, is_t1) for brain in (moving, fixed)))[-1]
    assert found.shape == (1, 3, 16, 24, 16)
    assert found.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("refine_from_mm", "explicit"), [(2.0, True), (4.0, False)])
def test_explicit_steps_are_left_out_where_the_field_is_refined_at_their_spacing(describing, refine_from_mm, explicit):
    model = replace(describing, settings=replace(describing.settings, refine_from_mm=refine_from_mm))
    noise = [torch.rand(1, 1, 32, 48, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    brains = [described(subject_of((3.0 * smooth(image, 2.0) - 1.0).clamp(0, 1)), model) for image in noise]
    fast, standard = (field_of(model, *brains, mode=mode) for mode in ("fast", "standard"))
    assert fast.shape == standard.shape == (1, 3, 16, 24, 16)
    assert torch.equal(fast, standard) == explicit
    with torch.no_grad():
        descriptions = [description(brain, show_t1(*brains)) for brain in reversed(brains)]
        coarse_field = describing.network.match(*descriptions, to_full_resolution=explicit)[-1]
    if not explicit:
        coarse_field = smooth(coarse_field, START_SIGMA)
    expected = resize_field(coarse_field, (16, 24, 16))
    torch.testing.assert_close(standard, expected, atol=1e-3, rtol=0)


def test_moving_brain_is_described_in_its_own_position_and_aligned_after(describing, monkeypatch):
    # Another contrast would be mapped to T1 intensities by what was found in the whole image.
    monkeypatch.setattr(IntensityModel, "is_t1_like", True)
    fixed, moving = described(subject(0), describing), subject(1)
    shifted = subject_of(torch.nn.functional.pad(moving.prepared.tensor, (16, 0, 0, 0, 0, 0), mode="replicate"))
    far = Affine(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 16.0], [0, 0, 0, 1.0]]))
    expected = field_of(describing, fixed, described(moving, describing))
    found = field_of(describing, fixed, described(shifted, describing), far)
    assert found.shape == expected.shape == (1, 3, 12, 16, 20)
    # The network sees a wider image, whose features differ a little everywhere.
    assert (found - expected).abs().mean() < 0.4 * expected.abs().mean()
    away = field_of(describing, fixed, described(shifted, describing))
    assert (away - expected).abs().mean() > (found - expected).abs().mean()


# --- other systems ------------------------------------------------------------------------------------------


def weakly_supervised():
    """A model of Hu et al. without instance optimisation, with weights as after some training."""
    torch.manual_seed(0)
    settings = ModelSettings(network="hu", network_options={"channels": [4, 6], "global_channels": [4]}, pair_steps=0)
    network = settings.build()
    for name, parameter in network.named_parameters():
        if "trust" in name or "logarithm" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return Model("hu", settings, network, "a checksum")


def test_model_without_instance_optimisation_makes_one_pass_in_every_mode():
    fast, standard = (field_of(weakly_supervised(), subject(0), subject(1), mode=mode) for mode in ("fast", "standard"))
    assert fast.abs().max() > 0.1
    assert torch.equal(fast, standard)
    assert fast.shape == (1, 3, 12, 16, 20)


@pytest.mark.parametrize(
    ("refine_from_mm", "allowed", "spacings"),
    [
        (4.0, slice(None), (2.0, 1.0)),
        (2.0, slice(None), (1.0,)),
        (2.0, slice(-1), (2.0,)),  # the memory does not suffice for more
    ],
)
def test_levels_finer_than_the_network_refine_its_field_and_at_least_the_last(refine_from_mm, allowed, spacings):
    settings = ModelSettings(refine_from_mm=refine_from_mm, pair_steps=0)
    levels = levels_after(Model("test", settings, settings.build()), SCHEDULES["standard"][allowed])
    assert tuple(level.spacing for level in levels) == spacings


# Their finest fields have 2 mm. SL-SFGR has not compared the tissue probability maps, which the level of 2 mm does.
@pytest.mark.parametrize(("name", "spacings"), [("sl_sfgr", (2.0, 1.0)), ("multimodal", (1.0,))])
def test_levels_that_refine_the_fields_of_bundled_models(name, spacings):
    assert tuple(level.spacing for level in levels_after(load_model(name), SCHEDULES["standard"])) == spacings


def test_images_that_are_as_coarse_as_the_network_are_not_downsampled():
    fixed, moving = subject(0, spacing=2.0), subject(1, spacing=2.0)
    model = weakly_supervised()
    with torch.no_grad():
        expected = resize_field(model.network(moving.prepared.tensor, fixed.prepared.tensor)[-1], SHAPE)
    torch.testing.assert_close(field_of(model, fixed, moving), expected, atol=1e-3, rtol=0)
