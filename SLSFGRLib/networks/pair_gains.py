"""Gains in bands of frequency that are derived from both images of a pair, another form of the frequency block.

:class:`.dual_domain.SpectralGate` sees one image alone, so it cannot know which frequencies the two have in common.
"""

from __future__ import annotations

import torch
from torch import nn

from .dual_domain import BANDS, gain_network, radial_bands

# So little energy in a band is none.
LEAST_ENERGY = 1e-6


class PairGate(nn.Module):
    """A scaling of the amplitudes of two feature maps by the same gains, which both of them decide.

    With X and Y the real FFTs of a channel of both and b_k soft bands that sum to one, the inverse FFTs of
    ``X (1 + sum_k g_k b_k)`` and ``Y (1 + sum_k g_k b_k)`` are returned, where ``g = tanh(MLP(...))`` of the mean
    amplitudes ``log(1 + mean_k |X|)`` and ``log(1 + mean_k |Y|)`` and of the coherence
    ``|sum_k X conj(Y)| / sqrt(sum_k |X|² sum_k |Y|²)``. The MLP's last layer starts at zero, so the gate starts as the
    identity.

    :param channels: of the feature maps.
    """

    def __init__(self, channels: int, bands: int = BANDS) -> None:
        super().__init__()
        self.bands = bands
        self.gains = gain_network(3 * channels * bands, channels * bands)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale two (B, C, D, H, W) feature maps of any size, in float32 also in mixed precision."""
        with torch.autocast(fixed.device.type, enabled=False):
            scaled = self._scaled(moving.float().contiguous(), fixed.float().contiguous())
        return scaled[0].to(moving.dtype), scaled[1].to(fixed.dtype)

    def _scaled(self, *pair: torch.Tensor) -> list[torch.Tensor]:
        shape = pair[0].shape[2:]
        spectra = [torch.fft.rfftn(features, dim=(2, 3, 4), norm="ortho") for features in pair]
        bands = radial_bands(shape, self.bands, pair[0].device)
        gains = self.gains(_described(*spectra, bands).flatten(1)).view(*pair[0].shape[:2], self.bands)
        scale = 1.0 + torch.einsum("bck,kdhw->bcdhw", gains, bands)
        return [torch.fft.irfftn(spectrum * scale, s=shape, dim=(2, 3, 4), norm="ortho") for spectrum in spectra]


def _described(moving: torch.Tensor, fixed: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
    """Return the amplitudes of two spectra in each band and their coherence, (B, 3, C, bands)."""

    def summed(values: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bcdhw,kdhw->bck", values, bands.to(values.dtype))

    # Very small images have no frequency in some of the bands.
    size = bands.sum(dim=(1, 2, 3)).clamp(min=LEAST_ENERGY)
    amplitudes = [(summed(spectrum.abs()) / size).log1p() for spectrum in (moving, fixed)]
    energies = [summed(spectrum.abs().square()) for spectrum in (moving, fixed)]
    common = summed(moving * fixed.conj())
    # The root of a squared modulus has no derivative at zero.
    squared = common.real.square() + common.imag.square()
    coherence = squared / (energies[0] * energies[1]).clamp(min=LEAST_ENERGY)
    return torch.stack([*amplitudes, (coherence + LEAST_ENERGY).sqrt()], dim=1)
