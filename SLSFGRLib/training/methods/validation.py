"""Validation figures that the methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

from ...losses.dice import soft_dice
from ...spatial.fields import jacobian_determinant
from ..distributed import gather, share

T = TypeVar("T")


def mean_dice(masks: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the mean Dice over the labels that the reference has.

    :param masks: (1, L, D, H, W), boolean.
    :param reference: likewise.
    """
    present = reference.any(dim=4).any(dim=3).any(dim=2)
    scores = soft_dice(masks.float(), reference.float(), smoothing=1e-6)
    return float((scores * present).sum() / present.sum().clamp(min=1))


def folding_percent(field: torch.Tensor) -> float:
    """Return the percentage of voxels whose Jacobian determinant is not positive.

    :param field: (1, 3, D, H, W) in voxels.
    """
    return 100.0 * float((jacobian_determinant(field) <= 0).float().mean())


def mean_figures(figures: Callable[[T], dict[str, float]], examples: Iterable[T]) -> dict[str, float]:
    """Return the mean of each figure over several examples, which the processes of the training share.

    :param figures: returns the figures of one example, the same ones for all.
    """
    rows = gather([figures(example) for example in share(examples)])
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
