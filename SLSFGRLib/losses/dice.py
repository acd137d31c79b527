"""Soft Dice, the overlap of probabilities or partial-volume labels."""

from __future__ import annotations

import torch


def soft_dice(
    first: torch.Tensor,
    second: torch.Tensor,
    weight: torch.Tensor | None = None,
    squared: bool = False,
    smoothing: float = 1.0,
) -> torch.Tensor:
    """Return ``(2 sum(w a b) + s) / (sum(w (a + b)) + s)`` of each channel: 1 for equal binary labels.

    :param first: (B, C, D, H, W) with values in [0, 1].
    :param second: likewise.
    :param weight: (B, 1, D, H, W), of each voxel; all are 1 by default.
    :param squared: divide by the sum of ``a^2 + b^2`` (Milletari et al. 2016), so that equal labels have a Dice of 1
        also if they are blurred.
    :param smoothing: ``s``, in voxels: channels that are empty in both have a Dice of 1, and small ones a bounded
        gradient.
    :returns: (B, C).
    """
    common, total = first * second, first.square() + second.square() if squared else first + second
    if weight is not None:
        common, total = common * weight, total * weight
    return (2.0 * voxel_sums(common) + smoothing) / (voxel_sums(total) + smoothing)


def voxel_sums(volumes: torch.Tensor) -> torch.Tensor:
    """Return the sum over all voxels of (B, C, D, H, W), as (B, C).

    If the channels are stored last, a product with ones takes a tenth of the time of a sum.
    """
    rows = volumes.permute(0, 2, 3, 4, 1).flatten(1, 3)
    # In mixed precision a product would lose digits.
    with torch.autocast(volumes.device.type, enabled=False):
        return (torch.ones_like(rows[..., :1]).mT.float() @ rows.float()).squeeze(1)
