"""Penalties on fields that are rough: each takes (B, 3, D, H, W) in voxels and gives a scalar mean."""

from __future__ import annotations

import torch


def _forward_differences(field: torch.Tensor) -> list[torch.Tensor]:
    return [field.diff(dim=axis) for axis in (2, 3, 4)]


def total_variation(field: torch.Tensor) -> torch.Tensor:
    """Mean absolute forward difference; lets a field jump. The penalty of Li & Fan 2018."""
    return torch.stack([difference.abs().mean() for difference in _forward_differences(field)]).mean()


def gradient_energy(field: torch.Tensor) -> torch.Tensor:
    """Mean squared forward difference (diffusion regularisation)."""
    return torch.stack([difference.square().mean() for difference in _forward_differences(field)]).mean()


def bending_energy(field: torch.Tensor) -> torch.Tensor:
    """Mean squared second derivative, mixed ones counted twice (Rueckert et al. 1999); zero for affine fields."""
    first = [field.diff(dim=axis) for axis in (2, 3, 4)]
    energy = field.new_zeros(())
    for axis, derivative in zip((2, 3, 4), first, strict=True):
        energy = energy + derivative.diff(dim=axis).square().mean()
        for other in range(axis + 1, 5):
            energy = energy + 2.0 * derivative.diff(dim=other).square().mean()
    return energy


PENALTIES = {"tv": total_variation, "gradient": gradient_energy, "bending": bending_energy}
