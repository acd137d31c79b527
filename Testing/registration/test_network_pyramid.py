"""A network that is applied at several resolutions, again and again."""

import pytest
import torch

from SLSFGRLib.registration.network_pyramid import FIELD_SIGMA, NetworkLevel, rounds_of
from SLSFGRLib.spatial.fields import compose, smooth, warp

SHAPE = (12, 16, 20)
FIXED = torch.zeros(1, 1, *SHAPE)


def level(multiple=1, moving=FIXED):
    return NetworkLevel(FIXED, lambda field: warp(moving, field), multiple)


def shifts(*sizes):
    """A network whose fields are constant, each time one of the given lengths along the first axis."""
    left = iter(sizes)

    def network(moving, fixed):
        field = torch.zeros(1, 3, *fixed.shape[2:])
        field[:, 0] = next(left)
        return [field]

    return network


def test_a_level_starts_with_the_field_of_the_coarser_one_in_its_own_voxels():
    coarse = torch.ones(1, 3, 6, 8, 10)
    torch.testing.assert_close(level().start(coarse), torch.full((1, 3, *SHAPE), 2.0))
    assert level().start(None).shape == (1, 3, *SHAPE)
    assert not level().start(None).any()


def test_rounds_add_up():
    found = rounds_of(shifts(1.0, 0.5, 0.25), level(), level().start(None), 3)
    torch.testing.assert_close(found[:, 0], torch.full((1, *SHAPE), 1.75))
    assert not found[:, 1:].any()


def test_the_field_of_one_round_is_that_of_the_network_and_of_a_further_one_composed_and_smoothed():
    first, second = (torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = level().improved(level().start(None), first)
    assert torch.equal(found, first)
    torch.testing.assert_close(level().improved(first, second), smooth(compose(first, second), FIELD_SIGMA))


def test_the_network_sees_what_was_warped_so_far():
    moving = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    seen = []

    def network(warped, fixed):
        seen.append(warped)
        return shifts(2.0)(warped, fixed)

    rounds_of(network, level(moving=moving), level().start(None), 2)
    torch.testing.assert_close(seen[0], moving, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[1][:, :, :-2], moving[:, :, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("resolution", [1, 2])
def test_sizes_that_the_network_does_not_take_are_padded_and_cropped(resolution):
    padded = level(multiple=8)
    assert padded.fixed.shape == padded.moving(padded.start(None)).shape == (1, 1, 16, 16, 24)
    field = torch.full((1, 3, 16 // resolution, 16 // resolution, 24 // resolution), 1.0 / resolution)
    torch.testing.assert_close(padded.improved(padded.start(None), field), torch.ones(1, 3, *SHAPE))


def test_no_gradient_is_recorded_in_rounds():
    weight = torch.ones(1, requires_grad=True)
    found = rounds_of(lambda moving, fixed: [weight * torch.ones(1, 3, *SHAPE)], level(), level().start(None), 2)
    assert not found.requires_grad
