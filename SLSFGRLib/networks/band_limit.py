"""A field that is limited to learned bands of frequency, another form of the frequency block.

Fourier-Net (Jia et al., AAAI 2023) and WiNet (Cheng et al., MICCAI 2024) regress only low frequencies of a field. Here
the network learns how much of each band of frequency its velocities keep.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .blocks import VELOCITY_BLUR
from .dual_domain import radial_bands

# Twice as many as for features: what a field keeps falls steeply with the frequency.
BANDS = 16
# A Fourier transform wraps around: the border is repeated over this many voxels on each side, as far as the Gaussian
# reaches.
MARGIN = 3
# The gains that the network can start from: those of exactly 0 or 1 would never change.
FIRST_GAINS = 1e-3, 1.0 - 1e-3


class BandLimit(nn.Module):
    """A low-pass of a velocity field by gains between 0 and 1 in radial bands of frequency.

    It starts as nearly the Gaussian of :data:`.blocks.VELOCITY_BLUR` voxels whose place it takes.
    """

    def __init__(self) -> None:
        super().__init__()
        # A radius of one is the corner of the spectrum, half a cycle per voxel along each axis.
        frequency = torch.linspace(0.0, math.sqrt(0.75), BANDS)
        gains = torch.exp(-2.0 * (math.pi * VELOCITY_BLUR * frequency).square())
        self.logits = nn.Parameter(gains.clamp(*FIRST_GAINS).logit())

    def forward(self, velocity: torch.Tensor) -> torch.Tensor:
        """Filter a (B, 3, D, H, W) velocity in float32."""
        padded = functional.pad(velocity.contiguous(), (MARGIN,) * 6, mode="replicate")
        shape = padded.shape[2:]
        gains = torch.einsum("k,kdhw->dhw", self.logits.sigmoid(), radial_bands(shape, BANDS, velocity.device))
        filtered = torch.fft.irfftn(torch.fft.rfftn(padded, dim=(2, 3, 4)) * gains, s=shape, dim=(2, 3, 4))
        return filtered[..., MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]
