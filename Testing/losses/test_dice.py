import pytest
import torch

from SLSFGRLib.losses.dice import soft_dice, voxel_sums


def volume(*values):
    """Values in a row of voxels: (1, 1, N, 1, 1)."""
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def test_dice_is_that_of_hand_computed_numbers():
    first, second = volume(1.0, 1.0, 0.5, 0.0), volume(1.0, 0.0, 0.5, 0.25)
    # Common 1.25 of 2.5 and 1.75, smoothed by one voxel.
    assert float(soft_dice(first, second)) == pytest.approx(3.5 / 5.25)
    weight = volume(1.0, 0.5, 0.0, 2.0)
    # Common 1; sums 1.5 and 1.5.
    assert float(soft_dice(first, second, weight)) == pytest.approx(3.0 / 4.0)
    assert float(soft_dice(first, second, torch.zeros_like(weight))) == 1.0
    # Squares 2.25 and 1.3125.
    assert float(soft_dice(first, second, squared=True, smoothing=0.0)) == pytest.approx(2.5 / 3.5625)


def test_blurred_labels_equal_themselves_with_squares_only():
    faint = volume(0.1, 0.3, 0.1)
    assert float(soft_dice(faint, faint, squared=True, smoothing=1e-6)) == pytest.approx(1.0)
    assert float(soft_dice(faint, faint, smoothing=1e-6)) < 0.5


def test_channels_and_batch_are_measured_one_by_one():
    one, none, half = volume(1.0, 1.0), volume(0.0, 0.0), volume(1.0, 0.0)
    first = torch.cat([torch.cat([one, none], 1), torch.cat([half, half], 1)])
    second = torch.cat([torch.cat([one, none], 1), torch.cat([one, none], 1)])
    # Equal, and empty in both; (2 + 1) / (3 + 1), and 1 / 2.
    torch.testing.assert_close(soft_dice(first, second), torch.tensor([[1.0, 1.0], [0.75, 0.5]]))


def test_sums_are_exact_in_any_layout_and_in_mixed_precision():
    volumes = torch.randint(0, 9, (2, 3, 8, 9, 10), generator=torch.Generator().manual_seed(0)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            assert torch.equal(voxel_sums(volumes.contiguous(memory_format=layout)), volumes.sum((2, 3, 4)))
