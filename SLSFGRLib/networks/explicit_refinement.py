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
# benchmark: with 0.7 the Dice is 0.003 higher, but some 10 voxels fold (docs/develop/experiments.md).
STEP_BLUR = 0.9
# A step is composed in so many parts, which are well below a voxel: as exact as integrating it, in a third of the time.
PARTS = 4
# Weights of the image, of the tissue maps and of the network's tissues. Chosen on three pairs that are not in the
# benchmark, as T1 and in three other contrasts, and on rendered heads (docs/develop/experiments.md).
IMAGE_WEIGHT, MAP_WEIGHT, TISSUE_WEIGHT = 0.7, 0.4, 0.7
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

        :param moving: (B, 1 + 2 tissues, D, H, W), from :func:`appearance`.
        :param fixed: likewise.
        """
        # Once, before any step: to normalise each warped image instead gives a worse field, and takes longer.
        moving, inside = _normalised(moving), fixed[:, -len(TISSUES) :].sum(dim=1, keepdim=True)
        fixed = _normalised(fixed)
        weights = _weights(warp(moving[:, :1], field), fixed[:, :1], inside)
        moving, fixed = weights * moving, weights * fixed
        for _ in range(self.count):
            part_of_step = smooth(self.step(warp(moving, field), fixed).float(), STEP_BLUR) / PARTS
            for _ in range(PARTS):
                field = compose_with_step(field, part_of_step)
        return field


def appearance(image: torch.Tensor, maps: torch.Tensor, tissues: torch.Tensor) -> torch.Tensor:
    """Return what explicit steps compare, (B, 1 + 2 tissues, D, H, W).

    :param image: (B, 1, D, H, W).
    :param maps: probabilities of :data:`TISSUES`, whose borders follow the intensities, (B, tissues, D, H, W).
    :param tissues: likewise, as the network tells them: smoother, and of the whole anatomy.
    """
    return torch.cat([image, maps, tissues], dim=1)


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


def _normalised(appearance: torch.Tensor) -> torch.Tensor:
    """Normalise the image and the tissue maps; the network's tissues are comparable as they are."""
    compared, tissues = appearance[:, : -len(TISSUES)], appearance[:, -len(TISSUES) :]
    return torch.cat([locally_normalised(compared), tissues], dim=1)


def _weights(warped: torch.Tensor, fixed: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return the weight of each channel, (B, 1 + 2 tissues, 1, 1, 1): the less the images correlate, the less theirs.

    :param warped: normalised image, (B, 1, D, H, W).
    :param fixed: likewise.
    :param inside: the probability of the brain, likewise.
    """

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (values * inside).sum(dim=(2, 3, 4), keepdim=True)

    correlation = mean(warped * fixed) / (mean(warped * warped) * mean(fixed * fixed)).sqrt().clamp(min=1e-6)
    low, high = COMPARABLE
    part = ((correlation - low) / (high - low)).clamp(0.0, 1.0).detach()
    parts = [IMAGE_WEIGHT * part] + [
        part.new_full((len(part), len(TISSUES), 1, 1, 1), weight) for weight in (MAP_WEIGHT, TISSUE_WEIGHT)
    ]
    return torch.cat(parts, dim=1)


@cache
def _tissue_of_channel() -> torch.Tensor:
    """Return 1 where a channel of the segmentation belongs to a tissue, (tissues, 1 + structures)."""
    rows = [[0.0, *(float(structure.tissue == tissue) for structure in read_label_table())] for tissue in TISSUES]
    return torch.tensor(rows)
