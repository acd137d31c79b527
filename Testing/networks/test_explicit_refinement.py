"""Explicit steps: known shifts recovered, contrasts that cannot be compared, and their place in the network."""

import math

import pytest
import torch
from torch.nn import functional

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.networks.explicit_refinement import (
    IMAGE_WEIGHT,
    ExplicitRefinement,
    appearance,
    locally_normalised,
    tissues_of,
)
from SLSFGRLib.networks.lucas_kanade import DAMPING, SCALE
from SLSFGRLib.spatial.fields import smooth, warp
from SLSFGRLib.training.methods.semi_supervised_losses import Example, pair_losses

SHAPE, STRUCTURES = (24, 32, 24), len(read_label_table())
OPTIONS = {"channels": (4, 6, 8, 8), "matching_channels": 4}


def picture(seed=0, shape=SHAPE):
    """Smooth noise in [0, 1], (1, 1, D, H, W)."""
    noise = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    return (4.0 * smooth(noise, 1.5) - 1.5).clamp(0, 1)


def seen(image, tissues=0.3):
    """An image with equal tissues, which say nothing."""
    return torch.cat([image, torch.full((len(image), 6, *image.shape[2:]), tissues)], dim=1)


def trusted(module, trust=1.0, damping=0.05):
    """Give explicit steps a length and a damping."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("step.trust"):
                parameter.fill_(trust / SCALE)
            if name.endswith("step.caution"):
                parameter.fill_(math.log(damping / DAMPING) / SCALE)
    return module


def shifted(image, *voxels):
    """Return an image at points that lie so far away, and the field that says so."""
    field = torch.tensor(voxels).view(1, 3, 1, 1, 1).expand(1, 3, *image.shape[2:]).contiguous()
    return warp(image, field), field


def middle(field):
    return field[0, :, 6:-6, 6:-6, 6:-6].flatten(1)


@torch.no_grad()
def test_shift_is_recovered():
    moving = picture()
    fixed, truth = shifted(moving, 0.8, -0.6, 0.4)
    # As much damping, relative to the image's weight, as one of weight 1 would need.
    found = trusted(ExplicitRefinement(8), damping=0.05 * IMAGE_WEIGHT**2)(
        torch.zeros_like(truth), seen(moving), seen(fixed)
    )
    error = (middle(found) - middle(truth)).norm(dim=0)
    # The shift has 1.08 voxels.
    assert error.mean() < 0.2


@torch.no_grad()
def test_tissues_alone_move_where_contrasts_cannot_be_compared():
    moving, field = picture(), torch.zeros(1, 3, *SHAPE)
    fixed, _ = shifted(moving, 0.8, 0.0, 0.0)
    steps = trusted(ExplicitRefinement(10))
    # The inverted image has no part; and tissue maps without structure say nothing.
    assert steps(field, seen(moving), seen(1.0 - fixed)).abs().max() < 1e-4
    tissues = [torch.sigmoid(20.0 * (image - 0.5)) for image in (moving, fixed)]
    maps = [torch.cat([tissue, 1.0 - tissue, torch.zeros_like(tissue)], dim=1) for tissue in tissues]
    moving, inverted = appearance(moving, maps[0], maps[0]), appearance(1.0 - fixed, maps[1], maps[1])
    found = middle(steps(field, moving, inverted))
    # The shift has 0.8 voxels.
    assert 0.4 < found[0].mean() < 1.0
    assert found[1:].mean(dim=1).abs().max() < 0.1


@torch.no_grad()
def test_each_image_of_a_batch_is_treated_alone():
    pairs = [(picture(0), shifted(picture(0), 0.5, 0.0, 0.0)[0]), (picture(3), 1.0 - picture(3))]
    steps, field = trusted(ExplicitRefinement(2)), torch.zeros(1, 3, *SHAPE)
    together = steps(field.expand(2, -1, -1, -1, -1), *(seen(torch.cat(images)) for images in zip(*pairs, strict=True)))
    for number, (moving, fixed) in enumerate(pairs):
        torch.testing.assert_close(together[number : number + 1], steps(field, seen(moving), seen(fixed)))


def test_normalised_image_ignores_scale_and_offset_of_the_intensity():
    image = picture()
    inside = (..., slice(4, -4), slice(4, -4), slice(4, -4))
    expected = locally_normalised(image)[inside]
    # Where the window varies more than the noise floor.
    found = locally_normalised(0.5 + 2.0 * image)[inside]
    assert (found - expected).abs().mean() < 0.1 * expected.abs().mean()
    assert expected.std() == pytest.approx(0.8, abs=0.1)


@torch.no_grad()
def test_tissue_maps_count_by_their_shape_and_not_by_how_sure_they_are():
    moving, field = picture(), torch.zeros(1, 3, *SHAPE)
    fixed, _ = shifted(moving, 0.8, 0.0, 0.0)

    def maps(image, strength):
        tissue, nothing = 0.5 + strength * (image - 0.5), torch.zeros_like(image)
        tissues = torch.full((1, 3, *SHAPE), 0.3)
        return appearance(nothing, torch.cat([tissue, 1.0 - tissue, nothing], dim=1), tissues)

    steps = trusted(ExplicitRefinement(6))
    certain = middle(steps(field, maps(moving, 1.0), maps(fixed, 1.0)))
    # The fixed image's tissues are told half as surely.
    unsure = middle(steps(field, maps(moving, 1.0), maps(fixed, 0.5)))
    assert certain[0].mean() > 0.4
    assert unsure[0].mean() == pytest.approx(float(certain[0].mean()), abs=0.1)


def test_each_channel_is_normalised_alone():
    first, second = picture(0), picture(1)
    together = locally_normalised(torch.cat([first, second], dim=1))
    torch.testing.assert_close(together, torch.cat([locally_normalised(first), locally_normalised(second)], dim=1))


def test_tissues_are_the_sums_of_their_structures():
    logits = torch.randn(1, 1 + STRUCTURES, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    probabilities = logits.softmax(1)
    tissues = tissues_of(logits)
    torch.testing.assert_close(tissues.sum(1), 1.0 - probabilities[:, 0])
    white = [number for number, row in enumerate(read_label_table(), 1) if row.tissue == "WM"]
    torch.testing.assert_close(tissues[:, 2], probabilities[:, white].sum(1))


# --- in the network -----------------------------------------------------------------------------------------


def network(steps):
    torch.manual_seed(0)
    return SLSFGRNetwork(STRUCTURES, **OPTIONS, explicit_steps=steps)


@torch.no_grad()
def test_new_network_does_not_move_and_a_trusted_one_does():
    moving = picture()
    fixed, _ = shifted(moving, 0.8, 0.0, 0.0)
    fields = network((1, 2))(moving, fixed)
    assert [tuple(field.shape[2:]) for field in fields] == [(3, 4, 3), (6, 8, 6), (12, 16, 12), SHAPE]
    assert all(not field.any() for field in fields)
    found = middle(trusted(network((2, 6)))(moving, fixed)[-1])
    assert found[0].mean() == pytest.approx(0.8, abs=0.2)


@torch.no_grad()
def test_without_steps_the_network_is_what_it_was():
    plain, other = network((0, 0)), network((1, 2))
    assert set(other.state_dict()) - set(plain.state_dict()) == {
        f"explicit.{level}.step.{name}" for level in (0, 1) for name in ("trust", "caution")
    }
    assert len(plain(picture(), picture(1))) == 3


def test_losses_reach_the_length_of_the_steps():
    moving = picture()
    fixed, _ = shifted(moving, 0.8, -0.4, 0.0)
    labels = functional.one_hot((moving[0, 0] > 0.5).long() * 2, 1 + STRUCTURES).movedim(-1, 0)[None].float()
    examples = [Example(image, image, warp(labels, torch.zeros(1, 3, *SHAPE))) for image in (moving, fixed)]
    trained = network((1, 2))
    coarse, full = (refinement.step.trust for refinement in trained.explicit)
    pair_losses(trained, *examples, 1.0, to_full_resolution=False)["similarity"].backward()
    assert coarse.grad.abs() > 1e-4
    assert full.grad is None
    pair_losses(trained, *examples, 1.0)["similarity"].backward()
    assert full.grad.abs() > 1e-4


def test_other_structures_than_the_tables_are_refused():
    with pytest.raises(ValueError, match="need the segmentation of 30 structures"):
        SLSFGRNetwork(3, **OPTIONS, explicit_steps=(1, 1))
    with pytest.raises(ValueError, match="need the segmentation"):
        SLSFGRNetwork(STRUCTURES, **OPTIONS, segmentation=False, explicit_steps=(1, 1))
