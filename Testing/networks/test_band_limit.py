import pytest
import torch

from SLSFGRLib.networks.band_limit import BANDS, BandLimit
from SLSFGRLib.networks.blocks import VELOCITY_BLUR
from SLSFGRLib.spatial.fields import smooth

SHAPE = (16, 20, 16)


def velocity():
    return torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(0))


def with_gains(gains):
    limit = BandLimit()
    with torch.no_grad():
        limit.logits.copy_(torch.tensor(gains).logit())
    return limit


@torch.no_grad()
def test_it_starts_as_nearly_the_gaussian_that_it_replaces():
    field = velocity()
    found, expected = BandLimit()(field), smooth(field, VELOCITY_BLUR)
    assert (found - expected).abs().max() < 0.05 * field.abs().max()
    assert (found - expected).norm() < 0.1 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("shape", [SHAPE, (7, 9, 5), (2, 3, 2), (1, 1, 1)])
def test_a_constant_velocity_stays_at_any_size(shape):
    found = BandLimit()(torch.full((2, 3, *shape), 0.7))
    torch.testing.assert_close(found, torch.full_like(found, 0.7), atol=2e-3, rtol=0)


@torch.no_grad()
def test_a_band_is_scaled_by_its_gain():
    """A wave of a quarter of a cycle per voxel lies between the bands 4 and 5 of 16."""
    wave = torch.cos(torch.pi / 2.0 * torch.arange(48.0))[:, None, None].expand(1, 3, 48, 8, 8)
    for gain in (1e-4, 0.3, 1.0 - 1e-4):
        found = with_gains([0.999] * 4 + [gain] * 2 + [0.001] * (BANDS - 6))(wave)
        # Far from the ends, where the wave stops.
        middle = slice(16, 32)
        torch.testing.assert_close(found[:, :, middle], gain * wave[:, :, middle], atol=0.02, rtol=0)


@torch.no_grad()
def test_one_side_of_the_image_does_not_move_the_other():
    field = torch.zeros(1, 3, *SHAPE)
    field[:, :, 0] = 1.0
    assert BandLimit()(field)[:, :, -3:].abs().max() < 0.02


def test_every_gain_can_be_learned():
    limit = BandLimit()
    limit(torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    assert limit.logits.grad.isfinite().all()
    assert (limit.logits.grad != 0).all()
