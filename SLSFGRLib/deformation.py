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

from .fields import (
    central_differences,
    compose,
    downsample,
    resize_field,
    sample,
    smooth,
    voxel_grid,
)
from .preparation import PreparedImage
from .similarity.local_correlation import LocalCorrelationGradient

# Image sizes must be multiples of the coarsest level's factor.
COARSEST_FACTOR = 8
MOMENTUM, MEMORY = 0.9, 0.99
# The gain in LNCC for each voxel of motion below which a force is taken for noise and moves little.
NOISE_FORCE = 0.1


@dataclass(frozen=True)
class Level:
    """One resolution of the optimisation.

    :param factor: how many voxels of the working grid a side make one voxel of the images compared.
    :param field_factor: likewise for the voxels of the field; at least ``factor``.
    :param iterations: number of steps.
    """

    factor: int
    field_factor: int
    iterations: int


@dataclass(frozen=True)
class Smoothness:
    """What keeps the field smooth, in voxels of the field at each level.

    :param step_blur: standard deviation of the blur of each step (fluid regularisation).
    :param field_blur: standard deviation of the blur of the whole field after each step (elastic).
    :param longest_step: largest displacement of one step.
    """

    step_blur: float = 1.0
    field_blur: float = 0.5
    longest_step: float = 0.5


def deform(
    fixed: PreparedImage,
    moving: PreparedImage,
    matrix: np.ndarray,
    levels: tuple[Level, ...],
    smoothness: Smoothness | None = None,
    start: torch.Tensor | None = None,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Find the field that, followed by an affine matrix, brings the moving image to the fixed one.

    :param fixed: with sizes that are multiples of the coarsest level's factor.
    :param matrix: 4x4, fixed voxels to moving voxels; ``warped(x) = moving(matrix (x + u(x)))``.
    :param start: a field to begin with, on any grid over the same box.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid, zero on its border.
    """
    smoothness = smoothness or Smoothness()
    field = torch.zeros(1, 3, 1, 1, 1, device=fixed.tensor.device) if start is None else start
    total = sum(level.iterations * level.factor**-3 for level in levels)
    done = 0.0
    for level in levels:
        share = level.iterations * level.factor**-3 / total
        field = resize_field(field, [size // level.field_factor for size in fixed.grid.shape])
        optimiser = _LevelOptimiser(fixed, moving, matrix, level, smoothness)
        for iteration in range(level.iterations):
            update(done + share * iteration / level.iterations)
            field = optimiser.step(field)
        done += share
    return field


class _LevelOptimiser:
    """Takes the steps of one level."""

    def __init__(
        self,
        fixed: PreparedImage,
        moving: PreparedImage,
        matrix: np.ndarray,
        level: Level,
        smoothness: Smoothness,
    ) -> None:
        self.level = level
        self.smoothness = smoothness
        self.similarity = LocalCorrelationGradient(downsample(fixed.tensor, level.factor))
        self.warper = AffineWarper(moving.tensor, matrix, fixed.grid.shape, level.factor)
        self.ramp = _border_ramp([size // level.field_factor for size in fixed.grid.shape]).to(fixed.tensor.device)
        self.first = torch.zeros(())
        self.second = torch.zeros(())
        self.count = 0

    def step(self, field: torch.Tensor) -> torch.Tensor:
        """One step downhill, composed with the field."""
        warped = self.warper(field)
        _, derivative = self.similarity(warped)
        force = central_differences(warped)[:, 0].mul_(derivative)
        force = downsample(force, self.level.field_factor // self.level.factor)
        uphill = self._adaptive(smooth(force, self.smoothness.step_blur)).mul_(self.ramp)
        length = uphill.square().sum(1, keepdim=True).sqrt_().clamp_(min=1.0)
        step = uphill.div_(length).mul_(-self.smoothness.longest_step)
        return _with_still_border(smooth(compose(field, step), self.smoothness.field_blur))

    def _adaptive(self, force: torch.Tensor) -> torch.Tensor:
        """Adam's direction (Kingma & Ba 2015), about as long as 1, with one second moment for all three channels.

        A moment for each channel would turn the force towards the diagonals of the grid.
        """
        self.count += 1
        self.first = MOMENTUM * self.first + (1 - MOMENTUM) * force
        self.second = MEMORY * self.second + (1 - MEMORY) * force.square().sum(1, keepdim=True)
        scale = (self.second / (1 - MEMORY**self.count)).sqrt_().add_(NOISE_FORCE)
        return (self.first / (1 - MOMENTUM**self.count)).div_(scale)


class AffineWarper:
    """Samples the moving image through a field and an affine matrix at once, so that it is blurred once.

    :param matrix: 4x4, voxels of the full fixed grid to voxels of ``moving``.
    :param shape: of the full fixed grid.
    :param factor: how many voxels of both full grids a side make one of this level.
    """

    def __init__(self, moving: torch.Tensor, matrix: np.ndarray, shape: tuple[int, ...], factor: int) -> None:
        coarse = [max(1, size // factor) for size in moving.shape[2:]]
        ratio = np.array([size / small for size, small in zip(moving.shape[2:], coarse, strict=True)])
        self.moving = torch.nn.functional.interpolate(moving, size=coarse, mode="area") if factor > 1 else moving
        # Voxel x of this level lies at (x + 1/2) factor - 1/2 of the full grid, and likewise for moving.
        linear = matrix[:3, :3] * factor / ratio[:, None]
        shift = (matrix[:3, :3] @ np.full(3, (factor - 1) / 2) + matrix[:3, 3] + 0.5) / ratio - 0.5
        self.linear = torch.as_tensor(linear, dtype=torch.float32, device=moving.device)
        shift = torch.as_tensor(shift, dtype=torch.float32, device=moving.device)
        self.shape = [size // factor for size in shape]
        self.positions = self._turned(voxel_grid(self.shape, moving.device)) + shift.view(1, 3, 1, 1, 1)

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """The warped image on this level's grid, for a field on any grid over the same box."""
        return sample(self.moving, self.positions + self._turned(resize_field(field, self.shape)))

    def _turned(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.einsum("rc,bcdhw->brdhw", self.linear, vectors)


def _border_ramp(shape: list[int]) -> torch.Tensor:
    """0 on the outermost voxels, rising to 1 over four more: (1, 1, D, H, W)."""
    ramps = []
    for size in shape:
        index = torch.arange(size, dtype=torch.float32)
        ramps.append((torch.minimum(index, size - 1 - index) / 4.0).clamp(max=1.0))
    return (ramps[0][:, None, None] * ramps[1][:, None] * ramps[2])[None, None]


def _with_still_border(field: torch.Tensor) -> torch.Tensor:
    """The field with zeros on its outermost voxels: every program that reads it continues it without a jump."""
    for axis in (2, 3, 4):
        field.select(axis, 0).zero_()
        field.select(axis, -1).zero_()
    return field
