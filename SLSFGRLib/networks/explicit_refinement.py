"""Refine a field by explicit least-squares steps on what can be compared: the images, and their tissues.

The last part of an unrolled network (compare K. Hammernik et al.: Learning a variational network. MRM 79, 2018): a
few steps of a classical registration, whose length and damping are learned. A network of this size that regresses a
field at 4 mm leaves what these steps find in a second (docs/develop/experiments.md).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from ..io.label_table import read_label_table
from ..losses.lncc import box_sum
from ..spatial.fields import compose_with_step, smooth, warp
from .lucas_kanade import FlowStep

# Half the side of the window in which an image is normalised, and the variance below which a window counts as flat, as
# for LNCC: a step of least squares on such images is nearly one of LNCC.
RADIUS, NOISE = 3, 1e-3
# Standard deviation, in voxels, of the Gaussian that smooths a step. Chosen on three pairs that are not in the
# benchmark: with 0.5 the Dice is 0.003 higher, and the field much rougher (docs/develop/experiments.md).
STEP_BLUR = 0.7
# A step is composed in so many parts, which are well below a voxel: as exact as integrating it, in a third of the time.
PARTS = 4
# Weights of the normalised channels. Chosen on three pairs that are not in the benchmark, as T1 and in other contrasts.
IMAGE_WEIGHT, TISSUE_WEIGHT = 0.7, 0.5
# The images take no part if their correlation is at most the first number, as between T1 and T2, and their full part
# from the second on. Chosen, not measured.
COMPARABLE = (0.1, 0.3)
TISSUES = ("CSF", "GM", "WM")


class ExplicitRefinement(nn.Module):
    """Explicit steps at one resolution; a new network's have no length.

    :param count: of the steps.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.step = FlowStep()

    def forward(self, field: torch.Tensor, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Refine a (B, 3, D, H, W) field.

        :param moving: (B, 1 + tissues, D, H, W), from :func:`appearance`.
        :param fixed: likewise.
        """
        inside = fixed[:, 1:].sum(dim=1, keepdim=True)
        # Once, before any step: to normalise each warped image instead gives a worse field, and takes longer.
        moving, fixed = locally_normalised(moving), locally_normalised(fixed)
        weights = _weights(warp(moving, field), fixed, inside)
        moving, fixed = weights * moving, weights * fixed
        for _ in range(self.count):
            part_of_step = smooth(self.step(warp(moving, field), fixed).float(), STEP_BLUR) / PARTS
            for _ in range(PARTS):
                field = compose_with_step(field, part_of_step)
        return field


def appearance(image: torch.Tensor, tissues: torch.Tensor) -> torch.Tensor:
    """Return what explicit steps compare, (B, 1 + tissues, D, H, W): an image and the probabilities of its tissues."""
    return torch.cat([image, tissues], dim=1)


def tissues_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities of :data:`TISSUES`, (B, tissues, D, H, W); they get no gradient.

    :param logits: of background and structures, (B, 1 + structures, D, H, W).
    """
    return sums_by_tissue(logits.detach().movedim(1, -1).softmax(dim=-1).movedim(-1, 1))


def sums_by_tissue(posteriors: torch.Tensor) -> torch.Tensor:
    """Add the probabilities of the structures of each tissue: (B, 1 + structures, ...) to (B, tissues, ...)."""
    groups = _tissue_of_channel().to(posteriors.device, posteriors.dtype)
    return nn.functional.linear(posteriors.movedim(1, -1), groups).movedim(-1, 1)


def locally_normalised(channels: torch.Tensor) -> torch.Tensor:
    """Subtract the mean of the window around each voxel of (B, C, D, H, W), and divide by its standard deviation."""
    count = (2 * RADIUS + 1) ** 3
    moments = box_sum(torch.cat([channels, channels * channels], dim=1), RADIUS) / count
    mean, square = moments.split(channels.shape[1], dim=1)
    return (channels - mean) / ((square - mean * mean).clamp(min=0.0) + NOISE).sqrt()


def _weights(warped: torch.Tensor, fixed: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return the weights of normalised channels, (B, 1 + tissues, 1, 1, 1).

    The images' is smaller the less they correlate in the brain.

    :param inside: (B, 1, D, H, W), the probability of the brain.
    """

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (values * inside).sum(dim=(2, 3, 4), keepdim=True)

    first, second = warped[:, :1], fixed[:, :1]
    correlation = mean(first * second) / (mean(first * first) * mean(second * second)).sqrt().clamp(min=1e-6)
    low, high = COMPARABLE
    part = ((correlation - low) / (high - low)).clamp(0.0, 1.0).detach()
    tissues = part.new_full((len(part), warped.shape[1] - 1, 1, 1, 1), TISSUE_WEIGHT)
    return torch.cat([IMAGE_WEIGHT * part, tissues], dim=1)


@cache
def _tissue_of_channel() -> torch.Tensor:
    """Return 1 where a channel of the segmentation belongs to a tissue, (tissues, 1 + structures)."""
    rows = [[0.0, *(float(structure.tissue == tissue) for structure in read_label_table())] for tissue in TISSUES]
    return torch.tensor(rows)
