"""Small changes of a brain between scans: found without bias, and not where there are none."""

import math

import numpy as np
import pytest
import torch

from SLSFGRLib.registration.small_changes import changes_from_mean, doubled, warp_precisely
from SLSFGRLib.spatial.fields import jacobian_determinant, voxel_grid

SHAPE, RADIUS = (48, 56, 48), 12.0
NOISE = 0.02


DISTANCE = (voxel_grid(SHAPE) - torch.tensor((23.3, 27.8, 23.6)).view(1, 3, 1, 1, 1)).norm(dim=1, keepdim=True)


NEAR = (DISTANCE < 22.0).float()


def ball(radius, distance=DISTANCE):
    """A ball that is darker than what surrounds it, in a larger one on black; with partial volumes."""
    return 0.9 * torch.sigmoid((20.0 - distance) / 0.5) - 0.35 * torch.sigmoid((radius - distance) / 0.5)


def noisy(image, seed):
    return image + NOISE * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))


def volumes(images):
    """The volume of the ball in each scan, in voxels."""
    mean, fields = changes_from_mean(images, NEAR, 1.0)
    inside = DISTANCE[0, 0] < RADIUS
    return mean, [float(jacobian_determinant(field)[0][inside].sum()) for field in fields]


@pytest.fixture(scope="module")
def shrunk():
    """Two scans, of which the second shows the ball with 3 % less volume."""
    return noisy(ball(RADIUS), 0), noisy(ball(RADIUS * 0.97 ** (1 / 3)), 1)


@pytest.fixture(scope="module")
def measured(shrunk):
    return volumes(shrunk)


def test_a_known_shrinkage_is_found(measured):
    before, after = measured[1]
    assert 100.0 * (after / before - 1.0) == pytest.approx(-3.0, abs=0.5)


def test_the_order_of_the_scans_changes_nothing(shrunk, measured):
    mean, swapped = volumes(shrunk[::-1])
    np.testing.assert_allclose(swapped[::-1], measured[1], rtol=1e-5)
    torch.testing.assert_close(mean, measured[0], atol=1e-4, rtol=0)


def test_noise_changes_no_volume():
    _, (first, second, third) = volumes([noisy(ball(RADIUS), seed) for seed in (2, 3, 4)])
    assert first == pytest.approx(second, rel=0.002)
    assert first == pytest.approx(third, rel=0.002)


def test_a_bias_field_is_no_change():
    factor = 1.0 + 0.1 * (voxel_grid(SHAPE)[:, :1] / SHAPE[0] - 0.5)
    _, (before, after) = volumes([noisy(ball(RADIUS), 8), noisy(ball(RADIUS) * factor, 9)])
    assert before == pytest.approx(after, rel=0.004)


def test_large_changes_are_followed():
    """As ventricles grow in years."""
    _, (before, after) = volumes([noisy(ball(RADIUS), 6), noisy(ball(RADIUS * 1.3 ** (1 / 3)), 7)])
    assert 100.0 * (after / before - 1.0) == pytest.approx(30.0, abs=1.5)


def test_a_doubled_image_is_read_precisely_between_its_voxels():
    """A wave of 8 voxels: linear interpolation alone is wrong by up to 0.065."""
    positions = voxel_grid((24, 8, 8))[:, :1]
    field = torch.zeros(1, 3, 24, 8, 8)
    field[:, 0] = 0.3
    found = warp_precisely(doubled(torch.sin(2 * math.pi * positions / 8)), field)
    expected = torch.sin(2 * math.pi * (positions + 0.3) / 8)
    torch.testing.assert_close(found[:, :, 3:-3], expected[:, :, 3:-3], atol=0.015, rtol=0)
