"""Deformable registration of one pair: the field itself is what is optimised.

Coarse to fine, the field is improved by small steps that are composed, not added: each step is a smooth
field of at most half a voxel, hence a diffeomorphism, and so is what they compose to (the greedy scheme of
Avants et al. 2008 and Yushkevich et al. 2016). The steps are scaled by Adam's running moments
(as FireANTs does, Jena et al. 2024), so that weak and strong edges move at the same pace, down to a force that
counts as noise: where nothing is left to gain, nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..losses.lncc import LocalCorrelationGradient
from ..preprocessing import PreparedImage
from ..segmentation.tissue_maps import MAPS
from ..spatial.blockwise import apply_blockwise
from ..spatial.fields import (
    border_ramp,
    central_differences,
    compose_with_step,
    downsample,
    resize_field,
    smooth,
    vector_norms,
)
from ..spatial.grid import Grid
from ..spatial.warping import AffineWarper

# The largest factor of a level; the sizes of the fixed image must be multiples of it.
COARSEST_FACTOR = 8
MOMENTUM, MEMORY = 0.9, 0.99
# The gain in LNCC for each voxel of motion below which a force is taken for noise and moves little.
NOISE_FORCE = 0.3
# Standard deviation of the blur of each step (fluid), and the largest displacement of one, in voxels of the field.
STEP_BLUR = 1.0
LONGEST_STEP = 0.5
# How much the map of a tissue counts beside the image itself.
TISSUE_WEIGHT = 0.5


@dataclass(frozen=True)
class Level:
    """One resolution of the optimisation.

    :param spacing: of the voxels of images and field, in mm.
    :param iterations: number of steps.
    :param field_blur: standard deviation of the blur of the whole field after each step (elastic), in its voxels.
    :param tissues: those of :data:`MAPS` whose maps count here, where there are any.
    """

    spacing: float
    iterations: int
    field_blur: float = 0.6
    tissues: tuple[str, ...] = ()

    def factor(self, grid: Grid) -> int:
        """How many voxels of a grid a side come nearest to one of this level."""
        return max(1, min(COARSEST_FACTOR, round(self.spacing / float(grid.spacing.mean()))))


def deform(
    fixed: PreparedImage,
    moving: PreparedImage,
    matrix: np.ndarray,
    levels: tuple[Level, ...],
    start: torch.Tensor | None = None,
    tissues: tuple[torch.Tensor, torch.Tensor] | None = None,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Find the field that, followed by an affine matrix, brings the moving image to the fixed one.

    :param fixed: with sizes that are multiples of :data:`COARSEST_FACTOR`.
    :param matrix: 4x4, fixed voxels to moving voxels; ``warped(x) = moving(matrix (x + u(x)))``.
    :param start: a field to begin with, on any grid over the same box.
    :param tissues: :data:`MAPS` on the fixed and the moving image's grid, (1, 4, ...), to compare beside
        the images.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid, zero on its border.
    """
    field = torch.zeros(1, 3, 1, 1, 1, device=fixed.tensor.device) if start is None else start
    factors = [level.factor(fixed.grid) for level in levels]
    work = [level.iterations * factor**-3 for level, factor in zip(levels, factors, strict=True)]
    for number, (level, factor) in enumerate(zip(levels, factors, strict=True)):
        compared = _compared((fixed.tensor, moving.tensor), tissues, level)
        optimiser = _LevelOptimiser(*compared, matrix, factor, level.field_blur)
        field = resize_field(field, optimiser.shape)
        for iteration in range(level.iterations):
            update((sum(work[:number]) + work[number] * iteration / level.iterations) / sum(work))
            field = optimiser.step(field)
    return field


def _compared(
    images: tuple[torch.Tensor, torch.Tensor], tissues: tuple[torch.Tensor, torch.Tensor] | None, level: Level
) -> tuple[torch.Tensor, ...]:
    """Both images with the maps of the level's tissues as further channels."""
    if tissues is None or not level.tissues:
        return images
    chosen = [MAPS.index(name) for name in level.tissues]
    return tuple(torch.cat([image, maps[:, chosen]], dim=1) for image, maps in zip(images, tissues, strict=True))


class _LevelOptimiser:
    """Takes the steps of one level.

    :param fixed: (1, 1 + T, D, H, W), the image and T further maps to compare.
    :param moving: likewise, on a grid of its own.
    :param factor: how many voxels of the full grids a side make one of this level.
    :param field_blur: as in :class:`Level`.
    """

    def __init__(
        self, fixed: torch.Tensor, moving: torch.Tensor, matrix: np.ndarray, factor: int, field_blur: float
    ) -> None:
        self.field_blur = field_blur
        self.shape = [size // factor for size in fixed.shape[2:]]
        self.similarities = [LocalCorrelationGradient(channel) for channel in downsample(fixed, factor).split(1, 1)]
        self.warper = AffineWarper(moving, matrix, fixed.shape[2:], factor)
        self.ramp = border_ramp(self.shape).to(fixed.device)
        self.first = fixed.new_zeros(1, 3, *self.shape)
        self.second = fixed.new_zeros(1, 1, *self.shape)
        self.count = 0

    def step(self, field: torch.Tensor) -> torch.Tensor:
        """One step downhill, composed with the field."""
        force = smooth(self._force(field), STEP_BLUR)
        self.count += 1
        step = apply_blockwise(self._downhill, force, self.first, self.second, self.ramp)
        return _with_still_border(smooth(compose_with_step(field, step), self.field_blur))

    def _force(self, field: torch.Tensor) -> torch.Tensor:
        """The derivative of the dissimilarity with respect to each voxel's place, (1, 3, d, h, w)."""
        image, *tissues = self.warper(field).split(1, 1)
        force = _pull(image, self.similarities[0])
        for warped, similarity in zip(tissues, self.similarities[1:], strict=True):
            force.add_(_pull(warped, similarity), alpha=TISSUE_WEIGHT)
        return force

    def _downhill(
        self, force: torch.Tensor, first: torch.Tensor, second: torch.Tensor, ramp: torch.Tensor
    ) -> torch.Tensor:
        """Adam's step (Kingma & Ba 2015), in voxels, with one second moment for all three channels.

        A moment for each channel would turn the force towards the diagonals of the grid.

        :param first: the moment, which is brought up to date in place; likewise the second.
        """
        first.lerp_(force, 1 - MOMENTUM)
        second.lerp_(force.square().sum(1, keepdim=True), 1 - MEMORY)
        scale = (second / (1 - MEMORY**self.count)).sqrt_().add_(NOISE_FORCE).mul_(1 - MOMENTUM**self.count)
        step = (first / scale).mul_(ramp)
        return step.div_(vector_norms(step)[:, None].div_(LONGEST_STEP).clamp_(min=1.0)).neg_()


def _pull(warped: torch.Tensor, similarity: LocalCorrelationGradient) -> torch.Tensor:
    """What one channel, (1, 1, d, h, w), contributes to the force: (1, 3, d, h, w)."""
    return central_differences(warped)[:, 0].mul_(similarity(warped))


def _with_still_border(field: torch.Tensor) -> torch.Tensor:
    """The field with zeros on its outermost voxels: every program that reads it continues it without a jump."""
    for axis in (2, 3, 4):
        field.select(axis, 0).zero_()
        field.select(axis, -1).zero_()
    return field
