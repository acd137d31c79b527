import pytest
import torch

from SLSFGRLib.networks.pair_gains import PairGate

SIZES = [(8, 6, 10), (7, 9, 5), (2, 3, 2), (1, 1, 1)]
AXES = (2, 3, 4)


def features(shape=(8, 6, 10), count=2, channels=3, seed=0):
    return torch.randn(count, channels, *shape, generator=torch.Generator().manual_seed(seed))


def learned(channels=3, deviation=0.5):
    """A gate with all its weights random, as after some training."""
    torch.manual_seed(1)
    gate = PairGate(channels)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, std=deviation)
    return gate


@pytest.mark.parametrize("shape", SIZES)
def test_a_fresh_gate_changes_nothing_at_any_size(shape):
    pair = features(shape), features(shape, seed=1)
    for found, expected in zip(PairGate(3)(*pair), pair, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_both_images_get_the_same_gains_and_keep_their_phases():
    pair = features(), features(seed=1)
    before = [torch.fft.rfftn(image, dim=AXES) for image in pair]
    after = [torch.fft.rfftn(image, dim=AXES) for image in learned()(*pair)]
    # Where an amplitude is small, its ratio says nothing.
    seen = (before[0].abs() > 1.0) & (before[1].abs() > 1.0)
    moving, fixed = ((new / old)[seen] for new, old in zip(after, before, strict=True))
    torch.testing.assert_close(moving.real, fixed.real, atol=1e-4, rtol=0)
    assert moving.imag.abs().max() < 1e-4
    assert (moving.real - 1.0).abs().max() > 0.2


def test_the_gains_tell_what_both_images_have_in_common():
    """The same amplitudes in both, but in one pair the waves lie on each other and in the other they are random."""
    gate = learned()
    alone, other = features(count=1), features(count=1, seed=1)
    spectrum = torch.fft.rfftn(alone, dim=AXES)
    phases = torch.fft.rfftn(other, dim=AXES)
    # Random phases of a real image, with the amplitudes of the first one.
    scrambled = torch.fft.irfftn(spectrum.abs() * phases / phases.abs(), s=alone.shape[2:], dim=AXES)
    torch.testing.assert_close(torch.fft.rfftn(scrambled, dim=AXES).abs(), spectrum.abs(), atol=1e-4, rtol=1e-4)
    assert (gate(alone, alone)[0] - gate(alone, scrambled)[0]).abs().max() > 0.05


def test_a_pair_does_not_depend_on_its_batch():
    gate, moving, fixed = learned(), features(count=3), features(count=3, seed=1)
    together = gate(moving, fixed)
    for number in range(3):
        alone = gate(moving[number : number + 1], fixed[number : number + 1])
        for part, whole in zip(alone, together, strict=True):
            torch.testing.assert_close(part[0], whole[number])


@pytest.mark.parametrize("shape", SIZES)
def test_gradients_are_finite_at_any_size_and_for_empty_images(shape):
    gate = learned()
    for fixed in (features(shape, seed=1), torch.zeros(2, 3, *shape)):
        moving = features(shape).requires_grad_()
        sum(part.square().sum() for part in gate(moving, fixed)).backward()
        assert moving.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())


def test_mixed_precision_leaves_the_spectrum_its_digits():
    gate, pair = learned(deviation=0.2), (features() + 3.0, features(seed=1) + 3.0)
    with torch.no_grad():
        expected = gate(*pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for part, whole in zip(gate(*pair), expected, strict=True):
            assert torch.equal(part, whole)
        assert gate(*(image.bfloat16() for image in pair))[0].dtype == torch.bfloat16
