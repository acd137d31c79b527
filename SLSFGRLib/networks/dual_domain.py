"""Adaptive enhancement of features in the spatial and in the frequency domain (SL-SFGR).

The frequency branch scales the amplitudes of a feature map in radial bands of frequency, by gains that it derives from
the map itself; it keeps the phases, which hold the positions. Gains of a few soft bands, rather than of every
frequency, make it independent of the image's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .blocks import LEAK

BANDS = 8


class SpectralGate(nn.Module):
    """A scaling of each channel's amplitudes by smooth, image-dependent gains in radial bands of frequency.

    With X the real FFT of a channel and b_k soft bands that sum to one, it returns the inverse FFT of
    ``X (1 + sum_k g_k b_k)``, where ``g = tanh(MLP(log(1 + mean_k |X|)))`` is between -1 and 1. The MLP's last layer
    starts at zero, so the gate starts as the identity.

    :param channels: of the feature map.
    """

    def __init__(self, channels: int, bands: int = BANDS) -> None:
        super().__init__()
        self.bands = bands
        self.gains = gain_network(channels * bands, channels * bands)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scale (B, C, D, H, W) features of any size, in float32 also in mixed precision."""
        with torch.autocast(features.device.type, enabled=False):
            return self._scaled(features.float().contiguous()).to(features.dtype)

    def _scaled(self, features: torch.Tensor) -> torch.Tensor:
        shape = features.shape[2:]
        spectrum = torch.fft.rfftn(features, dim=(2, 3, 4), norm="ortho")
        bands = radial_bands(shape, self.bands, features.device)
        # Very small images have no frequency in some of the bands.
        energy = torch.einsum("bcdhw,kdhw->bck", spectrum.abs(), bands) / bands.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        gains = self.gains(energy.log1p().flatten(1)).view(*energy.shape)
        scale = 1.0 + torch.einsum("bck,kdhw->bcdhw", gains, bands)
        return torch.fft.irfftn(spectrum * scale, s=shape, dim=(2, 3, 4), norm="ortho")


class DualDomainBlock(nn.Module):
    """A spatial and a frequency branch, mixed voxel by voxel and added to the features.

    ``out = x + strength (a spatial(x) + (1 - a) spectral(x))`` with ``a`` from a sigmoid of both. The strength of each
    channel starts at zero, so the block starts as the identity.

    :param channels: of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, groups=channels),
            nn.LeakyReLU(LEAK),
            nn.Conv3d(channels, channels, 1),
        )
        self.spectral = SpectralGate(channels)
        self.mixing = nn.Conv3d(2 * channels, channels, 1)
        self.strength = nn.Parameter(torch.zeros(1, channels, 1, 1, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Enhance (B, C, D, H, W) features."""
        spatial, spectral = self.spatial(features), self.spectral(features)
        mix = torch.sigmoid(self.mixing(torch.cat([spatial, spectral], dim=1)))
        return features + self.strength * (mix * spatial + (1.0 - mix) * spectral)


def gain_network(inputs: int, outputs: int) -> nn.Sequential:
    """Return a network of two layers whose results lie between -1 and 1; a fresh one returns zeros."""
    hidden = max(8, outputs // 8)
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(LEAK), last, nn.Tanh())


def radial_bands(shape: Sequence[int], count: int, device: torch.device | None = None) -> torch.Tensor:
    """Return soft bands over the frequencies of a real FFT: triangles in the radius that sum to one everywhere.

    :param shape: (D, H, W) of the image.
    :returns: (count, D, H, W // 2 + 1); the first is centred on zero frequency, the last on the corners.
    """
    axes = [torch.fft.fftfreq(size, device=device) for size in shape[:-1]] + [
        torch.fft.rfftfreq(shape[-1], device=device)
    ]
    squares = torch.meshgrid(*[axis.square() for axis in axes], indexing="ij")
    # The corner of the spectrum, half a cycle per voxel along each axis, has radius one.
    radius = (sum(squares) / 0.75).sqrt()
    centres = torch.linspace(0.0, 1.0, count, device=device).view(-1, 1, 1, 1)
    return (1.0 - (radius - centres).abs() * (count - 1)).clamp(min=0.0)
