"""Images of different contrasts made alike, and registered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_deformable import LEVELS, SHAPE, known_field, mean_length, prepared
from test_deformable import texture as fine_texture

from SLSFGRLib.registration.deformable import Level, deform
from SLSFGRLib.registration.intensity_mapping import BINS, brightness_maps, deform_across_contrasts, made_alike
from SLSFGRLib.spatial.fields import resize_field, smooth, warp


def texture(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """So coarse that few voxels lie between dark and bright."""
    blurred = smooth(torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)), 3.0)
    return (0.5 + 0.15 * blurred / blurred.std()).clamp(0, 1)


def t2_like(image: torch.Tensor) -> torch.Tensor:
    """Dark stays dark, what comes next is the brightest, and from there on it falls."""
    values = np.interp(image.numpy(), (0.0, 0.4, 0.43, 1.0), (0.0, 0.15, 1.0, 0.3))
    return torch.from_numpy(values).float()


def relation(fixed: torch.Tensor, moving: torch.Tensor):
    """The map from the moving image's contrast to the fixed one's."""
    return brightness_maps(prepared(fixed), prepared(moving), np.eye(4))[0]


def test_the_map_is_the_curve_that_made_the_contrast():
    # Blocks of two voxels, so that halving the resolution mixes no brightnesses.
    blocks = texture((20, 24, 28)).repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    found = relation(t2_like(blocks), blocks)
    brightness = torch.linspace(0, 1, BINS)
    common = (brightness > 0.5) & (brightness < 0.75)
    assert (found.table - t2_like(brightness)).abs()[common].max() < 0.08
    assert found.explained > 0.95


@pytest.mark.parametrize("slope", [1.0, 0.6, -1.0])
def test_linear_relations_need_no_map(slope):
    image = texture()
    assert not relation(0.5 + slope * (image - 0.5), image).is_needed


def test_unlike_contrasts_need_one():
    found = relation(texture(), t2_like(texture()))
    assert found.is_needed
    assert found.explained > found.linear + 0.2


def test_nothing_in_common_needs_none():
    other = texture().flip(2).flip(3)
    found = relation(texture(), other)
    assert not found.is_needed
    assert found.explained == pytest.approx(0.0, abs=0.05)


def test_flat_image_is_no_trouble():
    found = relation(torch.full((1, 1, 16, 16, 16), 0.5), torch.full((1, 1, 16, 16, 16), 0.5))
    assert not found.is_needed
    assert found.table.isfinite().all()


def test_applied_map_brings_the_images_together():
    image = texture()
    other = prepared(t2_like(image))
    mapped = relation(image, other.tensor).applied(other)
    before, after = ((image - one).abs().mean() for one in (other.tensor, mapped.tensor))
    assert after < 0.4 * before
    np.testing.assert_array_equal(mapped.grid.matrix, other.grid.matrix)


def test_the_map_back_is_the_one_that_leads_there_with_the_images_swapped():
    there, back = brightness_maps(prepared(texture()), prepared(t2_like(texture())), np.eye(4))
    swapped = relation(t2_like(texture()), texture())
    torch.testing.assert_close(back.table, swapped.table)
    assert back.explained == pytest.approx(swapped.explained)
    assert back.explained > there.explained + 0.1  # one brightness of the T2 belongs to two of the T1


def test_the_image_that_tells_the_other_is_the_one_whose_contrast_changes():
    t1, t2 = prepared(texture()), prepared(t2_like(texture()))
    fixed, moving = made_alike(t1, t2, np.eye(4))
    assert fixed.tensor is not t1.tensor
    assert moving is t2
    swapped_fixed, swapped_moving = made_alike(t2, t1, np.eye(4))
    assert swapped_fixed is t2
    torch.testing.assert_close(swapped_moving.tensor, fixed.tensor)
    assert made_alike(t1, t1, np.eye(4)) is None


@pytest.mark.parametrize("changes", ["moving", "fixed"])
def test_known_field_is_recovered_between_contrasts(changes):
    moving, truth = fine_texture(), known_field(3.0)
    first, second = warp(moving, truth), moving
    fixed, other = (
        prepared(t2_like(image) if changes == name else image) for name, image in (("fixed", first), ("moving", second))
    )
    errors = [
        mean_length(method(fixed, other, np.eye(4), LEVELS) - truth) for method in (deform_across_contrasts, deform)
    ]
    assert errors[0] < 0.6 * mean_length(truth)
    assert errors[0] < 0.6 * errors[1]


def test_images_of_one_contrast_are_left_as_they_are():
    moving = texture()
    fixed, other = prepared(warp(moving, known_field(2.0))), prepared(moving)
    expected = deform(fixed, other, np.eye(4), LEVELS[:1])
    torch.testing.assert_close(deform_across_contrasts(fixed, other, np.eye(4), LEVELS[:1]), expected)


def test_a_field_to_start_from_is_what_is_improved():
    moving, truth = fine_texture(), known_field(3.0)
    fixed, other = prepared(warp(moving, truth)), prepared(t2_like(moving))
    start = 0.8 * truth
    kept = deform_across_contrasts(fixed, other, np.eye(4), (Level(LEVELS[0].spacing, 0),), start=start)
    torch.testing.assert_close(resize_field(kept, truth.shape[2:]), start, atol=0.3, rtol=0)
    few = (Level(LEVELS[-1].spacing, 3),)
    improved = deform_across_contrasts(fixed, other, np.eye(4), few, start=start)
    without = deform_across_contrasts(fixed, other, np.eye(4), few)
    assert mean_length(improved - truth) < 0.8 * mean_length(without - truth)


def test_the_relation_is_estimated_again_at_4_mm_and_only_that_level_is_done_twice(monkeypatch):
    moving = fine_texture()
    fixed, other = prepared(warp(moving, known_field(3.0))), prepared(t2_like(moving))
    done = []

    def noted(fixed, moving, matrix, levels, **options):
        done.append([level.spacing for level in levels])
        return torch.zeros(1, 3, 5, 6, 7)

    monkeypatch.setattr("SLSFGRLib.registration.intensity_mapping.deform", noted)
    for spacings in ((8.0, 4.0, 2.0, 1.0), (4.0, 2.0), (2.0, 1.0)):
        deform_across_contrasts(fixed, other, np.eye(4), tuple(Level(spacing, 3) for spacing in spacings))
    assert done == [[8.0, 4.0], [4.0, 2.0, 1.0], [4.0], [4.0, 2.0], [2.0], [2.0, 1.0]]
