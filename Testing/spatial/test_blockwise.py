import pytest
import torch
from phantoms import noise

from SLSFGRLib.losses.lncc import LocalCorrelationGradient, box_sum
from SLSFGRLib.spatial import blockwise
from SLSFGRLib.spatial.blockwise import apply_blockwise
from SLSFGRLib.spatial.fields import smooth

SHAPE = (11, 13, 9)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few voxels, so that a small volume is split into many."""
    monkeypatch.setattr(blockwise, "BLOCK_VALUES", 300)


@pytest.mark.parametrize("across", [2, 3, 4])
def test_blocks_are_put_together_in_order_even_if_the_last_is_smaller(small_blocks, across):
    first, second = noise(1, 2, *SHAPE), noise(1, 1, *SHAPE, seed=1)
    thicknesses = []

    def function(volume, other):
        thicknesses.append(volume.shape[across])
        return torch.cat([volume * other, other], dim=1)

    found = apply_blockwise(function, first, second, across=across)
    assert len(thicknesses) > 2
    assert sum(thicknesses) == SHAPE[across - 2]
    assert torch.equal(found, torch.cat([first * second, second], dim=1))


def test_what_is_changed_in_place_is_changed_everywhere(small_blocks):
    state = torch.zeros(1, 1, *SHAPE)
    added = noise(1, 1, *SHAPE)
    apply_blockwise(lambda volume, total: total.add_(volume), added, state)
    assert torch.equal(state, added)


def test_recorded_volume_is_taken_whole_and_has_its_gradient(small_blocks):
    volume = noise(1, 1, *SHAPE).requires_grad_()
    apply_blockwise(torch.square, volume).sum().backward()
    torch.testing.assert_close(volume.grad, 2 * volume.detach())


@pytest.mark.parametrize("function", [lambda volume: smooth(volume, 1.0), lambda volume: box_sum(volume, 3)])
def test_filters_do_not_depend_on_how_large_blocks_are(function, monkeypatch):
    volume = noise(1, 3, *SHAPE)
    whole = function(volume)
    monkeypatch.setattr(blockwise, "BLOCK_VALUES", 300)
    assert torch.equal(function(volume), whole)


def test_correlation_gradient_does_not_depend_on_how_large_blocks_are(monkeypatch):
    fixed, warped = noise(1, 1, *SHAPE), noise(1, 1, *SHAPE, seed=1)
    whole = LocalCorrelationGradient(fixed)(warped)
    monkeypatch.setattr(blockwise, "BLOCK_VALUES", 300)
    torch.testing.assert_close(LocalCorrelationGradient(fixed)(warped), whole)
