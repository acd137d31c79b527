"""Regularisation terms of fields: each takes (B, 3, D, H, W) in voxels and returns a scalar mean."""

from __future__ import annotations

import torch


def _forward_differences(field: torch.Tensor) -> list[torch.Tensor]:
    return [field.diff(dim=axis) for axis in (2, 3, 4)]


def total_variation(field: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute forward difference, which permits jumps of a field (Li & Fan 2018)."""
    return torch.stack([difference.abs().mean() for difference in _forward_differences(field)]).mean()


def gradient_energy(field: torch.Tensor) -> torch.Tensor:
    """Return the mean squared forward difference (diffusion regularisation)."""
    return torch.stack([difference.square().mean() for difference in _forward_differences(field)]).mean()


def bending_energy(field: torch.Tensor) -> torch.Tensor:
    """Return the mean squared second derivative, mixed ones twice (Rueckert et al. 1999): 0 for affine fields."""
    first = _forward_differences(field)
    energy = field.new_zeros(())
    for axis, derivative in zip((2, 3, 4), first, strict=True):
        energy = energy + derivative.diff(dim=axis).square().mean()
        for other in range(axis + 1, 5):
            energy = energy + 2.0 * derivative.diff(dim=other).square().mean()
    return energy


PENALTIES = {"tv": total_variation, "gradient": gradient_energy, "bending": bending_energy}
