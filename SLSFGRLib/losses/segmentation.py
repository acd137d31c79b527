"""How well segmentations agree, as losses to be minimised: soft Dice, and cross-entropy with Dice."""

from __future__ import annotations

import torch

# Keeps the Dice of a structure that is in neither image at one, and its derivative small; in voxels.
FEW_VOXELS = 1.0


def soft_dice_loss(first: torch.Tensor, second: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """One minus the mean Dice over channels and batch.

    ``Dice = 2 sum(w a b) / sum(w (a + b))``; channels that are empty in both count as agreeing.

    :param first: (B, C, D, H, W) with values in [0, 1].
    :param second: likewise.
    :param weight: (B, 1, D, H, W), how much each voxel counts; None counts all alike.
    """
    common, total = first * second, first + second
    if weight is not None:
        common, total = common * weight, total * weight
    axes = (2, 3, 4)
    return 1.0 - ((2.0 * common.sum(axes) + FEW_VOXELS) / (total.sum(axes) + FEW_VOXELS)).mean()


def segmentation_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    rarity: float = 0.0,
    overlap: float = 1.0,
) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the structures, the mean over the batch.

    The first channel is the background; it and structures that the target lacks are left out of the Dice. The
    derivative is written out: with some thirty classes, recording it takes several times as long.

    :param logits: (B, K, D, H, W).
    :param target: fractions of the same shape, summing to one over the channels; carries no gradient.
    :param weight: (B, 1, D, H, W), how much each voxel counts; None counts all alike.
    :param rarity: in the cross-entropy a voxel of a channel that fills n voxels counts by ``n ** -rarity``. With all
        voxels alike a new network goes long without seeing the small structures at all; one that knows them makes
        them too large if they count for more.
    :param overlap: what the soft Dice counts beside the cross-entropy. It teaches small structures fast, but makes
        what the network is not sure of too large; cross-entropy alone gives probabilities.
    """
    rows, wanted = _rows(logits), _rows(target.detach())
    weights = torch.ones_like(wanted[..., :1]) if weight is None else _rows(weight.detach())
    # Sums over all voxels need every digit, also in mixed precision.
    with torch.autocast(logits.device.type, enabled=False):
        return _CrossEntropyAndDice.apply(rows.float(), wanted.float(), weights.float(), rarity, overlap)


def _rows(volumes: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) to (B, voxels, C); without a copy where the channels are stored last."""
    return volumes.permute(0, 2, 3, 4, 1).flatten(1, 3)


def _sums(rows: torch.Tensor) -> torch.Tensor:
    """(B, voxels, C) to (B, 1, C). A product with ones takes a tenth of the time of a sum down the columns."""
    return torch.ones_like(rows[..., :1]).mT @ rows


class _CrossEntropyAndDice(torch.autograd.Function):
    """``(B, voxels, K)`` logits, fractions and ``(B, voxels, 1)`` weights to a scalar."""

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx,
        logits: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor,
        rarity: float,
        overlap: float,
    ) -> torch.Tensor:
        logarithm = torch.log_softmax(logits, dim=2)
        weighted = target * weight
        size = _sums(weighted)
        scarce = (size + FEW_VOXELS) ** -rarity
        # Scaled so that the importance of all voxels of an image sums to one.
        scarce /= (size @ scarce.mT).clamp(min=1e-12)
        importance = weighted @ scarce.mT
        entropy = -((logarithm * weighted) @ scarce.mT).sum()
        share = logarithm.exp_()
        common = _sums(share * weighted)
        total = weight.mT @ share + size + FEW_VOXELS
        counted = (size > 0).to(logits.dtype)
        counted[..., 0] = 0.0
        counted *= overlap / counted.sum(2, keepdim=True).clamp(min=1.0)
        dice = (2.0 * common + FEW_VOXELS) / total
        context.save_for_backward(share, weighted, weight, dice, counted / total, scarce, importance)
        return (entropy + (counted * (1.0 - dice)).sum()) / len(logits)

    @staticmethod
    def backward(
        context: torch.autograd.function.FunctionCtx, slope: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None, None]:
        share, weighted, weight, dice, factor, scarce, importance = context.saved_tensors
        # The Dice's derivative with respect to each share is weight * dice * factor - 2 * weighted * factor; both it
        # and the entropy's go through the softmax, in as few passes over all voxels and classes as can be.
        common = share * weighted
        along = weight * (share @ (dice * factor).mT) - common @ (2.0 * factor).mT
        gradient = torch.baddbmm(importance - along, weight, dice * factor)
        gradient.mul_(share).addcmul_(common, -2.0 * factor).addcmul_(weighted, -scarce)
        return gradient.mul_(slope / len(share)), None, None, None, None
