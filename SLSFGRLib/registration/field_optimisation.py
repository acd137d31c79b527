"""Optimise a displacement field on the channels of two brains, from coarse to fine.

The field is improved by small steps that are composed, not added: each step is a smooth field of at most half a
voxel, hence a diffeomorphism, and so is their composition (the greedy scheme of Avants et al. 2008 and Yushkevich et
al. 2016). The steps are scaled by Adam's moments (as in FireANTs, Jena et al. 2024), so that weak and strong edges move
at the same pace. A noise floor is added to the scale: where nothing is left to gain, nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..losses.lncc import NOISE_FORCE, LocalCorrelationGradient, WeightedCorrelationGradient
from ..spatial.affine import Affine
from ..spatial.blockwise import apply_blockwise
from ..spatial.fields import (
    block_means,
    border_ramp,
    central_differences,
    compose_with_step,
    downsample,
    resize_blocks,
    resize_field,
    smooth,
    vector_norms,
)
from ..spatial.grid import Grid
from ..spatial.warping import AffineWarper
from .channels import INTENSITY, ChannelImage

# The largest downsampling factor of a level; the sizes of the fixed image must be multiples of it.
COARSEST_FACTOR = 8
# Decay of Adam's moments (Kingma & Ba 2015). Chosen: a shorter memory of the second than usual, for few iterations.
BETA1, BETA2 = 0.9, 0.99
# Maximum length of a step, in voxels.
MAX_STEP = 0.5
# From this standard deviation on, in voxels, a Gaussian is applied at half of the resolution: a third of the time.
WIDE_SIGMA = 4.0


@dataclass(frozen=True)
class Level:
    """One resolution of the optimisation.

    :param spacing: of the voxels of images and field, in mm.
    :param iterations: number of steps.
    :param field_sigma: standard deviation of the smoothing of the field after each step (elastic regularisation), in
        its voxels.
    :param step_sigma: that of the forces from which each step follows (fluid regularisation).
    :param weights: of the channels to compare, by name; channels that the images lack are left out.
    """

    spacing: float
    iterations: int
    field_sigma: float = 0.6
    step_sigma: float = 1.0
    weights: dict[str, float] = field(default_factory=lambda: {INTENSITY: 1.0})

    def factor(self, grid: Grid) -> int:
        """Return the downsampling factor from a grid that comes nearest to this level's spacing."""
        return max(1, min(COARSEST_FACTOR, round(self.spacing / grid.mean_spacing)))


def optimise_field(
    fixed: ChannelImage,
    moving: ChannelImage,
    affine: Affine,
    levels: Sequence[Level],
    start: torch.Tensor | None = None,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Find the field that, followed by an affine transform, brings the moving brain to the fixed one.

    :param fixed: with sizes that are multiples of :data:`COARSEST_FACTOR`.
    :param affine: fixed points to moving points; ``warped(x) = moving(affine(x + u(x)))``.
    :param start: a field to begin with, on any grid over the same box.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid, zero on its border.
    """
    displacement = torch.zeros(1, 3, 1, 1, 1, device=fixed.device) if start is None else start
    factors = [level.factor(fixed.grid) for level in levels]
    work = [level.iterations * factor**-3 for level, factor in zip(levels, factors, strict=True)]
    for number, (level, factor) in enumerate(zip(levels, factors, strict=True)):
        optimiser = _LevelOptimiser(fixed, moving, affine, level, factor)
        displacement = resize_field(displacement, optimiser.shape)
        for iteration in range(level.iterations):
            update((sum(work[:number]) + work[number] * iteration / level.iterations) / sum(work))
            displacement = optimiser.step(displacement)
    return displacement


class _LevelOptimiser:
    """Takes the steps of one level.

    :param factor: the downsampling factor of the level.
    """

    def __init__(self, fixed: ChannelImage, moving: ChannelImage, affine: Affine, level: Level, factor: int) -> None:
        names = [name for name in level.weights if name in fixed.channels and name in moving.channels]
        self.weights = [level.weights[name] for name in names]
        self.field_sigma, self.step_sigma = level.field_sigma, level.step_sigma
        self.shape = [size // factor for size in fixed.grid.shape]
        targets = downsample(fixed.stack(names), factor)
        matrix = affine.in_voxels(fixed.grid, moving.grid)
        self.compared = _ComparedVoxels.between(fixed, moving, matrix, factor)
        gradient = WeightedCorrelationGradient if self.compared else LocalCorrelationGradient
        self.similarities = [gradient(target) for target in targets.split(1, 1)]
        self.warper = AffineWarper(moving.stack(names), matrix, fixed.grid.shape, factor)
        self.ramp = border_ramp(self.shape).to(fixed.device)
        self.first = targets.new_zeros(1, 3, *self.shape)
        self.second = targets.new_zeros(1, 1, *self.shape)
        self.count = 0

    def step(self, displacement: torch.Tensor) -> torch.Tensor:
        """Compose the field with one step that lowers the dissimilarity."""
        force = _smoothed(self._force(displacement), self.step_sigma)
        self.count += 1
        step = apply_blockwise(self._adam_step, force, self.first, self.second, self.ramp)
        return _zero_boundary(smooth(compose_with_step(displacement, step), self.field_sigma))

    def _force(self, displacement: torch.Tensor) -> torch.Tensor:
        """Return the derivative of the dissimilarity with respect to each voxel's position, (1, 3, d, h, w)."""
        channels = self.warper(displacement).split(1, 1)
        compared = (self.compared(displacement),) if self.compared else ()
        first, *others = zip(channels, self.similarities, self.weights, strict=True)
        force = _channel_force(*first, *compared)
        for channel in others:
            force.add_(_channel_force(*channel, *compared))
        return force

    def _adam_step(
        self, force: torch.Tensor, first: torch.Tensor, second: torch.Tensor, ramp: torch.Tensor
    ) -> torch.Tensor:
        """Return Adam's step in voxels, with one second moment for all three components.

        A moment for each component would turn the force towards the diagonals of the grid.

        :param first: the first moment, updated in place; likewise the second.
        """
        first.lerp_(force, 1 - BETA1)
        second.lerp_(force.square().sum(1, keepdim=True), 1 - BETA2)
        scale = (second / (1 - BETA2**self.count)).sqrt_().add_(NOISE_FORCE).mul_(1 - BETA1**self.count)
        step = (first / scale).mul_(ramp)
        return step.div_(vector_norms(step)[:, None].div_(MAX_STEP).clamp_(min=1.0)).neg_()


class _ComparedVoxels:
    """The weight of each voxel of a level: that of the fixed image times that of the warped moving image."""

    def __init__(self, fixed: torch.Tensor | None, moving: AffineWarper | None) -> None:
        self.fixed, self.moving = fixed, moving

    @classmethod
    def between(
        cls, fixed: ChannelImage, moving: ChannelImage, matrix: np.ndarray, factor: int
    ) -> _ComparedVoxels | None:
        """Return the weights for two images; None if all voxels of both are compared."""
        if fixed.compared is None and moving.compared is None:
            return None
        return cls(
            None if fixed.compared is None else downsample(fixed.compared, factor),
            None if moving.compared is None else AffineWarper(moving.compared, matrix, fixed.grid.shape, factor),
        )

    def __call__(self, displacement: torch.Tensor) -> torch.Tensor:
        """Return the weights, (1, 1, d, h, w), for the field as far as it is known."""
        if self.moving is None:
            return self.fixed
        moving = self.moving(displacement)
        return moving if self.fixed is None else self.fixed * moving


def _channel_force(
    warped: torch.Tensor,
    similarity: LocalCorrelationGradient | WeightedCorrelationGradient,
    weight: float,
    *compared: torch.Tensor,
) -> torch.Tensor:
    """Return the weighted contribution of one channel, (1, 1, d, h, w), to the force: (1, 3, d, h, w)."""
    return central_differences(warped)[:, 0].mul_(similarity(warped, *compared).mul_(weight))


def _smoothed(force: torch.Tensor, sigma: float) -> torch.Tensor:
    """Smooth a force by a Gaussian, a wide one at half of the resolution."""
    if sigma < WIDE_SIGMA:
        return smooth(force, sigma)
    return resize_blocks(block_means(force, 2, sigma / 2), force.shape[2:], 2)


def _zero_boundary(displacement: torch.Tensor) -> torch.Tensor:
    """Set the outermost voxels to zero (boundary condition): outside its grid, every program takes a field for zero."""
    for axis in (2, 3, 4):
        displacement.select(axis, 0).zero_()
        displacement.select(axis, -1).zero_()
    return displacement
