"""How benchmarks.frequency_block measures energies in bands of frequency."""

import math

import pytest
import torch
from torch import nn

from benchmarks.frequency_block import bands, count
from SLSFGRLib.networks.dual_domain import BANDS


def waves(cycles_per_voxel):
    return torch.cos(2.0 * math.pi * cycles_per_voxel * torch.arange(16.0))[:, None, None].expand(2, 3, 16, 8, 8)


def test_energy_lies_in_the_band_of_its_frequency():
    constant, fast = bands(waves(0.0)), bands(waves(0.5))
    assert constant[0] == pytest.approx(float(constant.sum()))
    # Half a cycle per voxel along one axis has the radius 0.58 of the spectrum's corner: bands 5 and 6 of 8.
    assert float(fast[4:6].sum()) == pytest.approx(float(fast.sum()), rel=1e-4)
    assert int(fast.argmax()) == 4


def test_energies_before_and_after_a_block_are_added():
    energy = torch.zeros(2, BANDS)
    block = nn.Identity()
    for _ in range(2):
        count(energy, block, (waves(0.0),), 2.0 * waves(0.0))
    assert float(energy[1, 0] / energy[0, 0]) == pytest.approx(4.0)
    assert float(energy[0, 0]) == pytest.approx(2.0 * float(bands(waves(0.0))[0]))
