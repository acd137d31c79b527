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


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the structures, the mean over the batch.

    In the cross-entropy a voxel of a channel that fills n voxels counts by ``1 / sqrt(n)``: with all voxels alike, a
    network goes long without seeing the small structures at all. The first channel is the background; it and
    structures that the target lacks are left out of the Dice. The derivative is written out: with some thirty
    classes, recording it takes several times as long.

    :param logits: (B, K, D, H, W).
    :param target: fractions of the same shape, summing to one over the channels; carries no gradient.
    :param weight: (B, 1, D, H, W), how much each voxel counts; None counts all alike.
    """
    losses = []
    for number in range(len(logits)):
        rows, wanted = (_rows(tensor[number]) for tensor in (logits, target.detach()))
        weights = torch.ones_like(wanted[:, :1]) if weight is None else _rows(weight[number].detach())
        # Sums over all voxels need every digit, also in mixed precision.
        with torch.autocast(logits.device.type, enabled=False):
            losses.append(_CrossEntropyAndDice.apply(rows.float(), wanted.float(), weights.float()))
    return torch.stack(losses).mean()


def _rows(volume: torch.Tensor) -> torch.Tensor:
    """(C, D, H, W) to (voxels, C); without a copy where the channels are stored last."""
    return volume.permute(1, 2, 3, 0).flatten(0, 2)


class _CrossEntropyAndDice(torch.autograd.Function):
    """``(voxels, K)`` logits, fractions and ``(voxels, 1)`` weights to a scalar."""

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx, logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        logarithm = torch.log_softmax(logits, dim=1)
        weighted = target * weight
        rarity = (weighted.sum(0) + FEW_VOXELS).rsqrt()
        # Scaled so that the importance of all voxels sums to one.
        rarity /= (weighted.sum(0) @ rarity).clamp(min=1e-12)
        importance = weighted @ rarity[:, None]
        entropy = -((logarithm * weighted) @ rarity).sum()
        share = logarithm.exp_()
        common = (share * weighted).sum(0)
        total = weight[:, 0] @ share + weighted.sum(0) + FEW_VOXELS
        counted = (weighted.sum(0) > 0).to(logits.dtype)
        counted[0] = 0.0
        counted /= counted.sum().clamp(min=1.0)
        dice = (2.0 * common + FEW_VOXELS) / total
        context.save_for_backward(share, target, weight, dice, total, counted, rarity, importance)
        return entropy + (counted * (1.0 - dice)).sum()

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        share, target, weight, dice, total, counted, rarity, importance = context.saved_tensors
        # The Dice's derivative with respect to each share, then through the softmax.
        by_share = (dice - 2.0 * target) * (counted / total)
        by_share -= (by_share * share).sum(1, keepdim=True)
        gradient = by_share.mul_(share).mul_(weight)
        gradient += importance * share
        gradient -= target * weight * rarity
        return gradient.mul_(slope), None, None
