from itertools import combinations

import pytest
import torch

from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.networks.sl_sfgr import VELOCITY_SCALE
from SLSFGRLib.spatial.fields import smooth
from SLSFGRLib.training.methods.semi_supervised_losses import Example, pair_losses

SHAPE = (16, 24, 16)
STRUCTURES = 3


def images(count=2, shape=SHAPE):
    noise = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(0))
    return (4.0 * smooth(noise, 1.5) - 1.5).clamp(0, 1)


def small_network(heads=None, strengths=None, **options):
    """A network of few channels; with ``heads`` its fields are not zero, with ``strengths`` its gates."""
    torch.manual_seed(0)
    network = SLSFGRNetwork(STRUCTURES, (4, 6, 8, 8), 4, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if heads is not None and name.startswith("refinements") and "layers.3" in name:
                parameter.normal_(std=heads / VELOCITY_SCALE)
            if strengths is not None and name.endswith("strength"):
                parameter.normal_(std=strengths)
    return network


def labels(seed):
    noise = torch.rand(1, STRUCTURES + 1, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return (40.0 * smooth(noise, 2.0)).softmax(dim=1)


def parameters_of(network, part=""):
    return {name for name, _ in network.named_parameters() if part in name}


@torch.no_grad()
def test_forward_matches_what_it_describes():
    network = small_network(heads=0.3, strengths=0.5)
    moving, fixed = images().split(1)
    described = network.describe(moving), network.describe(fixed)
    for first, second in zip(network(moving, fixed), network.match(*described), strict=True):
        assert torch.equal(first, second)
    assert torch.equal(network.segment(moving), described[0].logits)
    assert described[0].logits.shape == (1, STRUCTURES + 1, *SHAPE)
    assert [features.shape for features in described[0].features] == [
        (1, 4, 2, 3, 2),
        (1, 4, 4, 6, 4),
        (1, 4, 8, 12, 8),
    ]


@torch.no_grad()
@pytest.mark.parametrize("segmentation", [True, False])
def test_images_of_a_batch_are_described_each_and_in_reverse(segmentation):
    network, batch = small_network(strengths=0.5, segmentation=segmentation), images()
    described = network.describe(batch)
    for found, image in zip((described.of([0]), described.of([1])), batch.split(1), strict=True):
        alone = network.describe(image)
        for one, other in zip(found.features, alone.features, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
        assert (found.logits is None) == (not segmentation)
        if segmentation:
            torch.testing.assert_close(found.logits, alone.logits, atol=1e-4, rtol=1e-3)
    for one, other in zip(described.of([1, 0]).features, described.features, strict=True):
        assert torch.equal(one[0], other[1])
        assert torch.equal(one[1], other[0])


@pytest.mark.parametrize("size", [17, 20, 23])
def test_sizes_that_are_no_multiples_of_eight_are_refused(size):
    network, image = small_network(), torch.zeros(1, 1, 16, size, 16)
    for use in (network.describe, network.segment, lambda odd: network(odd, odd)):
        with pytest.raises(ValueError, match=rf"\(16, {size}, 16\), must be multiples of 8"):
            use(image)


# --- switches -----------------------------------------------------------------------------------------------


def test_switches_remove_their_part_and_nothing_else():
    whole = parameters_of(small_network())
    guidance = {name for part in ("gate", "value") for name in parameters_of(small_network(), part)}
    guidance = {name for name in guidance if name.startswith("adapters")}
    guidance |= {f"adapters.{level}.strength" for level in range(3)}
    frequency = parameters_of(small_network(), "enhance")
    segmenter = parameters_of(small_network(), "segmenter")
    assert all((guidance, frequency, segmenter))
    assert not any(first & second for first, second in combinations((guidance, frequency, segmenter), 2))
    assert parameters_of(small_network(guidance=False)) == whole - guidance
    assert parameters_of(small_network(frequency=False)) == whole - frequency
    assert parameters_of(small_network(segmentation=False)) == whole - guidance - segmenter
    nothing = small_network(segmentation=False, guidance=False, frequency=False)
    assert parameters_of(nothing) == whole - guidance - segmenter - frequency


@torch.no_grad()
@pytest.mark.parametrize(("option", "part"), [("pair_gains", "gate.gains"), ("band_limit", "low_pass")])
def test_other_forms_of_the_frequency_block_are_added_at_every_resolution(option, part):
    plain, other = (
        small_network(heads=0.3, frequency=False),
        small_network(heads=0.3, frequency=False, **{option: True}),
    )
    added = parameters_of(other) - parameters_of(plain)
    assert added == {name for name in parameters_of(other, part) if name.startswith("refinements")}
    assert {name.split(".")[1] for name in added} == {"0", "1", "2"}
    other.load_state_dict(plain.state_dict(), strict=False)
    moving, fixed = images().split(1)
    before, start = plain(moving, fixed)[-1], other(moving, fixed)[-1]
    assert (start - before).abs().max() < 0.2 * before.abs().max()
    for name, parameter in other.named_parameters():
        if name in added:
            parameter.add_(0.5)
    assert (other(moving, fixed)[-1] - start).abs().max() > 0.01


@torch.no_grad()
def test_segmentation_guides_the_registration_only_where_it_is_to():
    moving, fixed = images().split(1)
    for options, moves in (({}, True), ({"guidance": False}, False)):
        network = small_network(heads=0.3, strengths=1.0, **options)
        before = network(moving, fixed)[-1]
        for parameter in network.segmenter.parameters():
            parameter.mul_(2.0).add_(0.3)
        change = float((network(moving, fixed)[-1] - before).abs().max())
        assert change > 0.01 if moves else change == 0.0


@torch.no_grad()
def test_without_strength_guidance_and_frequency_change_nothing():
    moving, fixed = images().split(1)
    whole, bare = small_network(heads=0.3), small_network(guidance=False, frequency=False)
    bare.load_state_dict(whole.state_dict(), strict=False)
    for first, second in zip(whole(moving, fixed), bare(moving, fixed), strict=True):
        assert torch.equal(first, second)
    stronger = small_network(heads=0.3, strengths=1.0)
    assert (stronger(moving, fixed)[-1] - whole(moving, fixed)[-1]).abs().max() > 0.01


def test_without_a_segmentation_there_are_no_logits():
    network = small_network(segmentation=False)
    moving, fixed = images().split(1)
    assert network.describe(moving).logits is None
    losses = pair_losses(network, Example(moving, moving, None), Example(fixed, fixed, labels(0)), 1.0)
    assert set(losses) == {"similarity", "roughness"}


# --- precision and layout -----------------------------------------------------------------------------------


@torch.no_grad()
def test_layout_in_memory_changes_nothing():
    pair = images().split(1)
    network = small_network(heads=0.3, strengths=0.5)
    expected = network(*pair)[-1]
    network = network.to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(network(*pair)[-1], expected, atol=1e-3, rtol=0)


@torch.no_grad()
def test_mixed_precision_gives_nearly_the_same_fields_in_full_precision():
    pair = images().split(1)
    network = small_network(heads=0.1, strengths=0.5)
    expected = network(*pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(*pair)
    for first, second in zip(found, expected, strict=True):
        assert first.dtype == torch.float32
        assert second.abs().max() > 0.1
        assert (first - second).abs().max() < 0.1 * second.abs().max()
