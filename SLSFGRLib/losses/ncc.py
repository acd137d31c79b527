"""Zero-mean normalised correlation of whole images (NCC)."""

from __future__ import annotations

import torch


class GlobalCorrelation:
    """The dissimilarity ``1 - NCC`` (Li & Fan 2018): 0 up to gain and offset, 2 for inverted images."""

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the mean over the batch for (B, 1, D, H, W) images."""
        warped, fixed = warped.float().flatten(1), fixed.float().flatten(1)
        warped = warped - warped.mean(1, keepdim=True)
        fixed = fixed - fixed.mean(1, keepdim=True)
        energy = warped.square().sum(1) * fixed.square().sum(1)
        return (1.0 - (warped * fixed).sum(1) / (energy + 1e-10).sqrt()).mean()
