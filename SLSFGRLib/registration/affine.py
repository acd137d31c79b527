"""Affine pre-alignment: from the centres of mass, over many rotations, from coarse to fine.

The measure is normalised mutual information (Studholme et al. 1999): it needs no relation between the two
contrasts, has a wider range of capture than a local descriptor such as MIND, and as a matrix product of
soft histograms it is cheap enough to follow many starts at once. Near the end the local correlation takes over:
it too holds between contrasts, its optimum is sharper, and it is what the deformation goes on with.

All matrices are 4x4 on LPS points in mm and take points of the fixed image to points of the moving image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..losses import LocalCorrelation
from ..losses.mutual_information import normalised_mutual_information, soft_bins
from ..preprocessing import PreparedImage
from ..spatial.fields import downsample, moving_average, sample, voxel_grid
from ..spatial.grid import Grid

BINS = 24
# Turns about each axis that the search starts from; the optimiser bridges the 13 degrees between.
START_ANGLES = (-math.radians(26), 0.0, math.radians(26))
ROTATION, STRETCH, SHEAR, SHIFT = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
# A millimetre of shift and a degree of rotation move the brain's surface about equally: steps are in
# radians (and relative lengths) times this many mm.
HEAD_RADIUS = 60.0
# Of the optimiser's running moments.
MOMENTUM, MEMORY = 0.8, 0.95


@dataclass(frozen=True)
class Stage:
    """One resolution of the search.

    :param spacing: of the voxels compared, in mm.
    :param iterations: steps of the optimiser.
    :param step: the first step, in mm at the brain's surface.
    :param keep: how many of the candidates go on to the next stage.
    :param rigid: rotation and shift only.
    :param local: compare by local correlation in place of mutual information.
    """

    spacing: float
    iterations: int
    step: float
    keep: int
    rigid: bool = False
    local: bool = False


SEARCH = (
    Stage(spacing=8.0, iterations=8, step=2.0, keep=6, rigid=True),
    Stage(spacing=8.0, iterations=14, step=1.5, keep=3, rigid=True),
)
REFINEMENT = (
    Stage(spacing=8.0, iterations=20, step=2.0, keep=1),
    Stage(spacing=4.0, iterations=15, step=0.6, keep=1),
    Stage(spacing=4.0, iterations=15, step=0.4, keep=1, local=True),
)
# From a start that is right but for a few millimetres.
LAST_REFINEMENT = (
    Stage(spacing=8.0, iterations=15, step=1.0, keep=1, local=True),
    Stage(spacing=4.0, iterations=8, step=0.4, keep=1, local=True),
)


def align(
    fixed: PreparedImage,
    moving: PreparedImage,
    start: np.ndarray | None = None,
    refinement: tuple[Stage, ...] = REFINEMENT,
) -> np.ndarray:
    """Find the affine matrix that brings the moving image to the fixed one.

    :param start: 4x4 LPS matrix to refine; without it the centres of mass and 27 rotations are tried.
    :param refinement: what is done from the start, or from the best rotation.
    :returns: 4x4, LPS mm, fixed points to moving points.
    """
    centre_fixed = centre_of_mass(fixed)
    if start is None:
        centre_moving = centre_of_mass(moving)
        parameters = _rotations(fixed.tensor.device)
        base = np.eye(3)
        stages = (*SEARCH, *refinement)
    else:
        centre_moving = start[:3, :3] @ centre_fixed + start[:3, 3]
        parameters = torch.zeros(1, 12, device=fixed.tensor.device)
        base = start[:3, :3]
        stages = refinement
    frame = _Frame(centre_fixed, centre_moving, torch.as_tensor(base, dtype=torch.float32))
    averages = _Averages(moving)
    for stage in stages:
        parameters = _climb(parameters, stage, frame, fixed, averages)
    return frame.matrix(parameters[0])


def centre_of_mass(image: PreparedImage) -> np.ndarray:
    """The LPS position of the middle of all tissue, in mm; every bright voxel counts alike."""
    weight = (image.tensor > 0.1).float()
    positions = voxel_grid(image.grid.shape, image.tensor.device)
    middle = (positions * weight).sum(dim=(0, 2, 3, 4)) / weight.sum().clamp(min=1.0)
    return image.grid.matrix[:3, :3] @ middle.cpu().double().numpy() + image.grid.matrix[:3, 3]


def _rotations(device: torch.device) -> torch.Tensor:
    angles = torch.tensor(START_ANGLES, device=device)
    return functional.pad(torch.cartesian_prod(angles, angles, angles), (0, 9))


@dataclass(frozen=True)
class _Frame:
    """Turns parameters into matrices about the two centres."""

    centre_fixed: np.ndarray
    centre_moving: np.ndarray
    base: torch.Tensor

    def linear(self, parameters: torch.Tensor) -> torch.Tensor:
        """(B, 12) to (B, 3, 3): rotation times stretch and shear, times the start's own matrix."""
        rotation = torch.matrix_exp(_cross_matrix(parameters[:, ROTATION]))
        shear = parameters[:, SHEAR]
        shape = torch.diag_embed(parameters[:, STRETCH]) + _symmetric(shear)
        return rotation @ torch.matrix_exp(shape) @ self.base.to(parameters.device)

    def matrix(self, parameters: torch.Tensor) -> np.ndarray:
        """(12,) to a 4x4 matrix on LPS points."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.linear(parameters[None])[0].cpu().double().numpy()
        shift = HEAD_RADIUS * parameters[SHIFT].cpu().double().numpy()
        matrix[:3, 3] = self.centre_moving + shift - matrix[:3, :3] @ self.centre_fixed
        return matrix


def _cross_matrix(vector: torch.Tensor) -> torch.Tensor:
    """(B, 3) rotation vectors to their (B, 3, 3) skew-symmetric matrices."""
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)


def _symmetric(shear: torch.Tensor) -> torch.Tensor:
    """(B, 3) to (B, 3, 3) symmetric matrices without a diagonal."""
    x, y, z = shear.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, x, y, x, zero, z, y, z, zero], dim=1).view(-1, 3, 3)


def _climb(
    parameters: torch.Tensor, stage: Stage, frame: _Frame, fixed: PreparedImage, moving: _Averages
) -> torch.Tensor:
    """Follow every candidate uphill at one resolution.

    :param parameters: (B, 12).
    :returns: the ``stage.keep`` best, best first.
    """
    compared = (_LocalLikeness if stage.local else _GlobalLikeness)(fixed, stage.spacing, frame.centre_fixed)
    factor = _factor(moving.image, stage.spacing)
    averaged = moving.averaged(factor)
    to_voxels = torch.as_tensor(np.linalg.inv(moving.image.grid.matrix), dtype=torch.float32, device=averaged.device)
    first = to_voxels[:3, 3:] - (factor - 1) / 2
    centre = torch.as_tensor(frame.centre_moving, dtype=torch.float32, device=averaged.device)
    free = torch.zeros(12, device=averaged.device)
    free[ROTATION] = free[SHIFT] = 1.0
    if not stage.rigid:
        free[STRETCH] = free[SHEAR] = 1.0
    best, best_value = parameters, torch.full((len(parameters),), -torch.inf, device=averaged.device)
    climber = _Climber(parameters, stage)
    for _ in range(stage.iterations):
        parameters = climber.parameters.detach().requires_grad_()
        shift = (centre + HEAD_RADIUS * parameters[:, SHIFT])[..., None]
        points = frame.linear(parameters) @ compared.offsets + shift
        voxels = to_voxels[:3, :3] @ points + first
        images = averaged.expand(len(parameters), -1, -1, -1, -1)
        likeness = compared(sample(images, voxels[:, :, None, None], padding="zeros")[:, 0, 0, 0])
        improved = likeness.detach() > best_value
        best = torch.where(improved[:, None], parameters.detach(), best)
        best_value = torch.where(improved, likeness.detach(), best_value)
        (uphill,) = torch.autograd.grad(likeness.sum(), parameters)
        climber.step(uphill * free)
    return best[best_value.argsort(descending=True)[: stage.keep]]


class _Climber:
    """Adam (Kingma & Ba 2015), uphill, with steps that shrink along a cosine.

    PyTorch's own optimisers import its compiler, which takes longer than all of the alignment.
    """

    def __init__(self, parameters: torch.Tensor, stage: Stage) -> None:
        self.parameters = parameters
        self.stage = stage
        self.first = torch.zeros_like(parameters)
        self.second = torch.zeros_like(parameters)
        self.count = 0

    def step(self, uphill: torch.Tensor) -> None:
        """Move along the gradient of the likeness, (B, 12)."""
        length = self.stage.step / HEAD_RADIUS * 0.5 * (1.0 + math.cos(math.pi * self.count / self.stage.iterations))
        self.count += 1
        self.first = MOMENTUM * self.first + (1 - MOMENTUM) * uphill
        self.second = MEMORY * self.second + (1 - MEMORY) * uphill.square()
        direction = self.first / (1 - MOMENTUM**self.count)
        scale = (self.second / (1 - MEMORY**self.count)).sqrt() + 1e-8
        self.parameters = self.parameters + length * direction / scale


class _Averages:
    """The moving image averaged over blocks of any size; each is computed once."""

    def __init__(self, image: PreparedImage) -> None:
        self.image = image
        self.known: dict[int, torch.Tensor] = {}

    def averaged(self, factor: int) -> torch.Tensor:
        """See :func:`fields.moving_average`."""
        if factor not in self.known:
            self.known[factor] = moving_average(self.image.tensor, factor)
        return self.known[factor]


class _GlobalLikeness:
    """Normalised mutual information of the fixed voxels in and near the head.

    :param centre: LPS point in mm.
    """

    def __init__(self, fixed: PreparedImage, spacing: float, centre: np.ndarray) -> None:
        coarse, grid = _coarse(fixed, spacing)
        reach = 2 * max(1, round(8.0 / spacing)) + 1
        near = functional.max_pool3d((coarse > 0.05).float(), reach, 1, reach // 2).flatten() > 0
        self.bins = soft_bins(coarse.flatten()[near], BINS)[None]
        self.offsets = _offsets(grid, centre, coarse.device)[:, near]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Likeness of each candidate: (B, N) moving values to (B,)."""
        return normalised_mutual_information(self.bins, values, BINS)


class _LocalLikeness:
    """Local correlation over the whole grid of the fixed image; for one candidate.

    :param centre: LPS point in mm.
    """

    def __init__(self, fixed: PreparedImage, spacing: float, centre: np.ndarray) -> None:
        self.coarse, grid = _coarse(fixed, spacing)
        self.offsets = _offsets(grid, centre, self.coarse.device)
        self.measure = LocalCorrelation(radius=2)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Likeness of the candidate: (1, N) moving values to (1,)."""
        return 1.0 - self.measure(values.view_as(self.coarse), self.coarse)[None]


def _offsets(grid: Grid, centre: np.ndarray, device: torch.device) -> torch.Tensor:
    """Where the voxels of a grid lie from a point, in mm, (3, N)."""
    matrix = torch.as_tensor(grid.matrix, dtype=torch.float32, device=device)
    shift = torch.as_tensor(grid.matrix[:3, 3] - centre, dtype=torch.float32, device=device)
    return matrix[:3, :3] @ voxel_grid(grid.shape, device)[0].flatten(1) + shift[:, None]


def _factor(image: PreparedImage, spacing: float) -> int:
    """How many voxels of the image a side come nearest to one of the given spacing."""
    return max(1, round(spacing / float(image.grid.spacing.mean())))


def _coarse(image: PreparedImage, spacing: float) -> tuple[torch.Tensor, Grid]:
    """The image averaged down to about the given spacing, and its grid."""
    factor = _factor(image, spacing)
    return downsample(image.tensor, factor), image.grid.coarsened(factor)
