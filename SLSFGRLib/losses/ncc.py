"""Zero-mean normalised correlation of whole images (NCC)."""

from __future__ import annotations

import torch


class GlobalCorrelation:
    """``1 - NCC``: 0 for images that differ by a positive gain and an offset, 2 for opposites.

    The similarity of Li & Fan 2018.
    """

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Compare (B, 1, D, H, W) images; the mean over the batch."""
        warped, fixed = warped.float().flatten(1), fixed.float().flatten(1)
        warped = warped - warped.mean(1, keepdim=True)
        fixed = fixed - fixed.mean(1, keepdim=True)
        energy = warped.square().sum(1) * fixed.square().sum(1)
        return (1.0 - (warped * fixed).sum(1) / (energy + 1e-10).sqrt()).mean()
