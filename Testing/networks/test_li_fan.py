"""The forces that Li & Fan's network may be given beside the images."""

import torch

from SLSFGRLib.losses import LocalCorrelation
from SLSFGRLib.networks.li_fan import forces
from SLSFGRLib.spatial.fields import smooth, warp

SHAPE = (24, 28, 32)


def structured(count=1):
    noise = torch.rand(count, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    return (6.0 * smooth(noise, 2.0) - 2.5).clamp(0, 1)


def test_forces_point_to_where_the_images_correlate_more():
    moving = structured()
    shift = torch.zeros(1, 3, *SHAPE)
    shift[:, 1] = 1.5
    fixed = warp(moving, shift)
    found = forces(moving, fixed)
    dissimilarity = LocalCorrelation()
    assert dissimilarity(warp(moving, found), fixed) < 0.6 * dissimilarity(moving, fixed)
    along, *across = (found[0, axis, 4:-4, 4:-4, 4:-4] for axis in (1, 0, 2))
    assert along.mean() > 0.2
    assert all(other.mean().abs() < 0.3 * along.mean() for other in across)


def test_forces_are_at_most_one_long_and_vanish_where_nothing_can_be_gained():
    images = structured(2)
    moving, fixed = images[:1], images[1:]
    assert 0.5 < forces(moving, fixed).norm(dim=1).max() < 1.0
    assert forces(moving, moving).norm(dim=1).max() < 0.05
    flat = torch.full_like(moving, 0.5)
    assert not forces(flat, fixed).any()
