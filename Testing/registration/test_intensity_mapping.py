"""Images whose contrasts are not related linearly: the mapping of intensities, and the registration with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from phantoms import smooth_diffeomorphism, texture

from SLSFGRLib.registration.channels import GIVEN_INTENSITY, INTENSITY, ChannelImage
from SLSFGRLib.registration.field_optimisation import Level, optimise_field
from SLSFGRLib.registration.intensity_mapping import (
    BINS,
    IntensityMapping,
    correlation_ratio,
    estimate_mappings,
    match_contrast,
    optimise_across_contrasts,
)
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import resize_field, warp
from SLSFGRLib.spatial.grid import Grid

SHAPE = (40, 48, 56)
LEVELS = (Level(spacing=2.0, iterations=15), Level(spacing=1.0, iterations=10))
IDENTITY = Affine.identity()


def channel_image(intensity: torch.Tensor, **channels: torch.Tensor) -> ChannelImage:
    return ChannelImage(Grid.upright(intensity.shape[2:], 1.0), {INTENSITY: intensity} | channels)


def coarse_texture(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Return a texture so coarse that few voxels lie between dark and bright."""
    return texture(shape, 3.0)


def t2_like(image: torch.Tensor) -> torch.Tensor:
    """Map intensities: dark stays dark, what comes next is the brightest, and from there on it falls."""
    values = np.interp(image.numpy(), (0.0, 0.4, 0.43, 1.0), (0.0, 0.15, 1.0, 0.3))
    return torch.from_numpy(values).float()


def mapping_to_fixed(fixed: torch.Tensor, moving: torch.Tensor) -> IntensityMapping:
    """Return the mapping from the moving image's contrast to the fixed one's."""
    return estimate_mappings(channel_image(fixed), channel_image(moving), IDENTITY)[0]


def mean_length(field: torch.Tensor) -> float:
    """Return the mean length away from the border, where the images end."""
    return float(field[:, :, 6:-6, 6:-6, 6:-6].norm(dim=1).mean())


def test_correlation_ratio_is_one_where_one_intensity_tells_the_other_and_less_with_noise():
    image = coarse_texture()
    brain = torch.zeros_like(image)
    brain[..., 8:-8, 8:-8, 8:-8] = 1.0
    # Outside the brain the images have nothing in common.
    outside = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    tissues = {"csf": 0.2 * brain, "gm": 0.4 * brain, "wm": 0.4 * brain}

    def ratio(other):
        fixed = channel_image(torch.where(brain > 0, image, outside), **tissues)
        return correlation_ratio(fixed, channel_image(other), IDENTITY, torch.zeros(1, 3, 4, 4, 4), spacing=1.0)

    assert ratio((image - 0.5).abs()) > 0.97
    noise = float(image[brain > 0].std()) * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    # Half of the variance is noise, of which the mean of eight voxels keeps an eighth.
    assert ratio(image + noise) == pytest.approx(8 / 9, abs=0.05)
    assert ratio(outside) < 0.1


def test_mapping_is_the_curve_that_made_the_contrast():
    # Blocks of two voxels, so that halving the resolution mixes no intensities.
    blocks = coarse_texture((20, 24, 28)).repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    found = mapping_to_fixed(t2_like(blocks), blocks)
    intensity = torch.linspace(0, 1, BINS)
    common = (intensity > 0.5) & (intensity < 0.75)
    assert (found.table - t2_like(intensity)).abs()[common].max() < 0.08
    assert found.explained > 0.95


@pytest.mark.parametrize("slope", [1.0, 0.6, -1.0])
def test_linear_relations_need_no_mapping(slope):
    image = coarse_texture()
    assert not mapping_to_fixed(0.5 + slope * (image - 0.5), image).is_needed


def test_nonlinear_relation_needs_a_mapping():
    found = mapping_to_fixed(coarse_texture(), t2_like(coarse_texture()))
    assert found.is_needed
    assert found.explained > found.linear + 0.2


def test_unrelated_images_need_no_mapping():
    other = coarse_texture().flip(2).flip(3)
    found = mapping_to_fixed(coarse_texture(), other)
    assert not found.is_needed
    assert found.explained == pytest.approx(0.0, abs=0.05)


def test_constant_image_needs_no_mapping():
    found = mapping_to_fixed(torch.full((1, 1, 16, 16, 16), 0.5), torch.full((1, 1, 16, 16, 16), 0.5))
    assert not found.is_needed
    assert found.table.isfinite().all()


def test_mapping_sees_the_images_through_the_affine_transform_and_the_field():
    image, field = coarse_texture(), smooth_diffeomorphism(SHAPE, 3.0)
    # Stored in reversed order along its first axis: the affine transform undoes that.
    reflection = Affine.from_parts(np.diag([1.0, 1.0, -1.0]), (0.0, 0.0, SHAPE[0] - 1.0))
    fixed, moving = channel_image(t2_like(warp(image, field))), channel_image(image.flip(2))
    explained = [
        estimate_mappings(fixed, moving, affine, start)[0].explained
        for affine, start in ((reflection, field), (reflection, None), (IDENTITY, field))
    ]
    assert explained[0] > explained[1] + 0.05
    assert explained[0] > explained[2] + 0.1


def test_image_that_explains_the_other_is_the_one_whose_contrast_changes():
    # Only intensities change, and those that were given are kept; other channels stay.
    t1 = channel_image(coarse_texture(), wm=coarse_texture())
    t2 = channel_image(t2_like(coarse_texture()), wm=coarse_texture())
    fixed, moving = match_contrast(t1, t2, IDENTITY)
    assert not torch.equal(fixed.channels[INTENSITY], t1.channels[INTENSITY])
    assert torch.equal(fixed.channels["wm"], t1.channels["wm"])
    assert fixed.grid is t1.grid
    for found, given in ((fixed, t1), (moving, t2)):
        assert found.channels[GIVEN_INTENSITY] is given.channels[INTENSITY]
    assert moving.channels[INTENSITY] is t2.channels[INTENSITY]
    swapped_fixed, swapped_moving = match_contrast(t2, t1, IDENTITY)
    assert swapped_fixed.channels[INTENSITY] is t2.channels[INTENSITY]
    torch.testing.assert_close(swapped_moving.channels[INTENSITY], fixed.channels[INTENSITY])
    assert match_contrast(t1, t1, IDENTITY) is None


@pytest.mark.parametrize("changes", ["moving", "fixed"])
def test_known_field_is_recovered_between_contrasts(changes):
    moving, truth = texture(SHAPE, 1.5), smooth_diffeomorphism(SHAPE, 3.0)
    images = {"fixed": warp(moving, truth), "moving": moving}
    images[changes] = t2_like(images[changes])
    pair = channel_image(images["fixed"]), channel_image(images["moving"])
    errors = [
        mean_length(method(*pair, IDENTITY, LEVELS) - truth) for method in (optimise_across_contrasts, optimise_field)
    ]
    assert errors[0] < 0.6 * mean_length(truth)
    assert errors[0] < 0.6 * errors[1]


def test_images_of_one_contrast_are_registered_as_they_are():
    moving = coarse_texture()
    pair = channel_image(warp(moving, smooth_diffeomorphism(SHAPE, 2.0))), channel_image(moving)
    expected = optimise_field(*pair, IDENTITY, LEVELS[:1])
    torch.testing.assert_close(optimise_across_contrasts(*pair, IDENTITY, LEVELS[:1]), expected)


def test_given_start_is_improved():
    moving, truth = texture(SHAPE, 1.5), smooth_diffeomorphism(SHAPE, 3.0)
    pair = channel_image(warp(moving, truth)), channel_image(t2_like(moving))
    start = 0.8 * truth
    kept = optimise_across_contrasts(*pair, IDENTITY, (Level(LEVELS[0].spacing, 0),), start=start)
    torch.testing.assert_close(resize_field(kept, truth.shape[2:]), start, atol=0.3, rtol=0)
    few = (Level(LEVELS[-1].spacing, 3),)
    improved = optimise_across_contrasts(*pair, IDENTITY, few, start=start)
    without = optimise_across_contrasts(*pair, IDENTITY, few)
    assert mean_length(improved - truth) < 0.8 * mean_length(without - truth)


@pytest.mark.parametrize(
    ("spacings", "coarse"), [((8.0, 4.0, 2.0), (8.0, 4.0)), ((4.0, 2.0), (4.0,)), ((2.0, 1.0), (2.0,))]
)
def test_mapping_is_estimated_again_at_4_mm_and_that_level_is_repeated(spacings, coarse):
    moving = texture(SHAPE, 1.5)
    pair = channel_image(warp(moving, smooth_diffeomorphism(SHAPE, 3.0))), channel_image(t2_like(moving))
    first = optimise_field(*match_contrast(*pair, IDENTITY), IDENTITY, [Level(spacing, 3) for spacing in coarse])
    again = match_contrast(*pair, IDENTITY, first) or pair
    rest = [Level(spacing, 3) for spacing in spacings if spacing <= coarse[-1]]
    expected = optimise_field(*again, IDENTITY, rest, first)
    found = optimise_across_contrasts(*pair, IDENTITY, [Level(spacing, 3) for spacing in spacings])
    torch.testing.assert_close(found, expected)
