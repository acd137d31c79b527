import math

import pytest
import torch

from SLSFGRLib.networks.cost_volume import SHIFTS, local_matches
from SLSFGRLib.networks.dual_domain import DualDomainBlock, SpectralGate, radial_bands

SIZES = [(8, 6, 10), (7, 9, 5), (2, 3, 2), (1, 1, 1), (5, 4, 8)]
AXES = (2, 3, 4)


def features(shape=(8, 6, 10), count=2, channels=3, seed=0):
    return torch.randn(count, channels, *shape, generator=torch.Generator().manual_seed(seed))


def learned(block, deviation=0.5):
    """The same block with all its weights random, as after some training."""
    torch.manual_seed(1)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=deviation)
    return block


def constant_gains(gate, gains):
    """A gate that gives these gains, (channels, bands), whatever the image."""
    with torch.no_grad():
        for parameter in gate.gains.parameters():
            parameter.zero_()
        gate.gains[-2].bias.copy_(torch.atanh(gains.flatten()))
    return gate


# --- frequency bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("count", [2, 8])
def test_bands_share_every_frequency_among_them(shape, count):
    bands = radial_bands(shape, count)
    assert bands.shape == (count, *shape[:2], shape[2] // 2 + 1)
    assert bands.min() >= 0
    torch.testing.assert_close(bands.sum(0), torch.ones_like(bands[0]))


# --- spectral gate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
def test_fresh_gate_and_block_change_nothing_at_any_size(shape):
    image = features(shape)
    torch.testing.assert_close(SpectralGate(3)(image), image, atol=1e-5, rtol=0)
    assert torch.equal(DualDomainBlock(3)(image), image)


@pytest.mark.parametrize("shape", SIZES)
def test_learned_gate_keeps_every_phase_and_scales_each_amplitude_between_nothing_and_twice(shape):
    image = features(shape)
    before = torch.fft.rfftn(image, dim=AXES)
    after = torch.fft.rfftn(learned(SpectralGate(3))(image), dim=AXES)
    seen = before.abs() > 1e-2
    ratio = (after / before)[seen]
    assert ratio.imag.abs().max() < 1e-3
    assert ratio.real.min() > -1e-3
    assert ratio.real.max() < 2.0 + 1e-3
    assert (ratio.real - 1.0).abs().max() > 0.2


def test_gain_of_a_cosine_is_that_of_its_two_bands():
    # Of 3 bands, the cosine of a quarter of a cycle per voxel lies in the first two with these parts.
    second = 1.0 / math.sqrt(3.0)
    gains = torch.tensor([[0.2, -0.6, 0.9], [0.0, 0.5, 0.0]])
    gate = constant_gains(SpectralGate(2, bands=3), gains)
    wave = torch.cos(math.pi / 2.0 * torch.arange(8.0) + 0.4)[:, None, None].expand(1, 2, 8, 8, 8)
    found = gate(wave.contiguous())
    for channel, (low, middle, _) in enumerate(gains.tolist()):
        gain = 1.0 + low * (1.0 - second) + middle * second
        torch.testing.assert_close(found[0, channel], gain * wave[0, channel], atol=1e-5, rtol=0)


def test_gains_come_from_the_image_itself_and_not_from_its_batch():
    gate, image = learned(SpectralGate(3)), features(count=3)
    image[1] *= 5.0
    together = gate(image)
    for number in range(3):
        torch.testing.assert_close(gate(image[number : number + 1])[0], together[number])
    # Were the gains the same for all images, the gate would be linear.
    assert (gate(5.0 * image[:1]) - 5.0 * together[:1]).abs().max() > 0.1


@pytest.mark.parametrize("make", [SpectralGate, DualDomainBlock])
def test_mixed_precision_leaves_the_spectrum_its_digits(make):
    block, image = learned(make(3), 0.2), features()
    image += 3.0
    gate = block if isinstance(block, SpectralGate) else block.spectral
    expected = gate(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gate(image), expected)
        assert block(image).isfinite().all()
        assert gate(image.bfloat16()).dtype == torch.bfloat16


# --- both domains -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
def test_learned_block_gives_finite_values_and_gradients_at_any_size(shape):
    block, image = learned(DualDomainBlock(3)), features(shape).requires_grad_()
    result = block(image)
    assert result.shape == image.shape
    result.square().sum().backward()
    for tensor in (result, image.grad, *(parameter.grad for parameter in block.parameters())):
        assert tensor.isfinite().all()


# --- matching -----------------------------------------------------------------------------------------------


def test_matches_are_products_with_the_27_neighbours():
    moving, fixed = features((3, 4, 5), channels=4), features((3, 4, 5), channels=4, seed=1)
    matches = local_matches(moving, fixed)
    assert matches.shape == (2, 27, 3, 4, 5)
    for batch, (d, h, w) in ((0, (1, 2, 3)), (1, (1, 1, 1)), (0, (0, 3, 4))):
        for channel, shift in enumerate(SHIFTS):
            place = [index + step - 1 for index, step in zip((d, h, w), shift, strict=True)]
            inside = all(0 <= index < size for index, size in zip(place, (3, 4, 5), strict=True))
            expected = 0.0
            if inside:
                there = moving[(batch, slice(None), *place)].tolist()
                expected = sum(a * b for a, b in zip(there, fixed[batch, :, d, h, w].tolist(), strict=True)) / 2.0
            assert float(matches[batch, channel, d, h, w]) == pytest.approx(expected, abs=1e-5)


def test_gradient_of_local_matches_is_that_of_the_plain_formula():
    draw = torch.Generator().manual_seed(5)
    moving, fixed = (torch.randn(2, 2, 3, 4, 2, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(local_matches, (moving, fixed))
