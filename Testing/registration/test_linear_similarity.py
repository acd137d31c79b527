"""Gradients of the similarities against finite differences, and what they do not depend on."""

import pytest
import torch
from phantoms import generator

from SLSFGRLib.registration.linear_similarity import BlockCorrelation, BlocksAndHistogram, MutualInformation

BLOCKS, SAMPLES = 40, 60


@pytest.fixture
def samples():
    """Fixed samples, moving ones that are partly related, and derivatives with respect to three parameters."""
    fixed = torch.rand(BLOCKS, SAMPLES, generator=generator(0), dtype=torch.float64)
    noise = torch.rand(BLOCKS, SAMPLES, generator=generator(1), dtype=torch.float64)
    jacobian = torch.randn(BLOCKS * SAMPLES, 3, generator=generator(2), dtype=torch.float64) * fixed.view(-1, 1)
    moving = (0.1 + 0.5 * fixed + 0.3 * noise).flatten()
    return fixed, moving[None], jacobian[None], torch.ones(1, BLOCKS * SAMPLES, dtype=bool)


def similarity(kind, fixed):
    return kind(fixed.flatten() if kind is MutualInformation else fixed)


@pytest.mark.parametrize("kind", [MutualInformation, BlockCorrelation, BlocksAndHistogram])
def test_gradient_is_that_of_the_value(samples, kind):
    fixed, moving, jacobian, inside = samples
    measure = similarity(kind, fixed)
    (found,) = measure(moving, jacobian, inside).gradient
    step = 1e-5
    for parameter in range(3):
        there = [measure(moving + sign * step * jacobian[..., parameter], jacobian, inside).value for sign in (1, -1)]
        assert float(found[parameter]) == pytest.approx((there[0] - there[1]) / (2 * step), rel=0.02, abs=2e-5)


@pytest.mark.parametrize("kind", [MutualInformation, BlockCorrelation])
def test_curvature_is_positive_and_samples_outside_do_not_count(samples, kind):
    fixed, moving, jacobian, inside = samples
    measure = similarity(kind, fixed)
    inside = inside.view(1, BLOCKS, SAMPLES).clone()
    inside[:, : BLOCKS // 2] = False
    whole = measure(moving, jacobian, inside.flatten(1))
    assert torch.linalg.eigvalsh(whole.curvature).min() > 0
    wrong = torch.where(inside.flatten(1), moving, torch.zeros_like(moving))
    assert measure(wrong, jacobian, inside.flatten(1)).value == pytest.approx(whole.value)
    half = similarity(kind, fixed[BLOCKS // 2 :])
    rows = slice(BLOCKS // 2 * SAMPLES, None)
    assert half(moving[:, rows], jacobian[:, rows], inside.flatten(1)[:, rows]).value == pytest.approx(whole.value)


def test_shading_and_inversion_do_not_change_the_correlation_of_blocks(samples):
    fixed, moving, jacobian, inside = samples
    measure = BlockCorrelation(100.0 * fixed)
    gain = torch.linspace(50.0, 150.0, BLOCKS, dtype=torch.float64).repeat_interleave(SAMPLES)
    plain = measure(100.0 * moving, jacobian, inside).value
    assert measure(7.0 - gain * moving, jacobian, inside).value == pytest.approx(plain, rel=1e-3)
