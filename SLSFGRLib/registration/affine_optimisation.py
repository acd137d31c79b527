"""Optimise an affine transform on two images, from coarse to fine.

The first objective is normalised mutual information (Studholme et al. 1999): it needs no relation between the two
contrasts, has a wider capture range than a local descriptor such as MIND, and as a matrix product of soft histograms it
is cheap enough to follow many candidates at once. The last stages maximise the local correlation (LNCC): it also holds
between contrasts, its optimum is sharper, and the deformation continues with it.
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
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import downsample, moving_average, sample, voxel_grid
from ..spatial.grid import Grid

BINS = 24
# Rotations about each axis that the search starts from; the optimiser covers the 13 degrees between them.
START_ANGLES = (-math.radians(26), 0.0, math.radians(26))
ROTATION, STRETCH, SHEAR, SHIFT = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
# Converts radians and relative lengths to mm at the brain's surface, so that all parameters have steps of one size.
HEAD_RADIUS_MM = 60.0
# Decay of Adam's first and second moments. Chosen: shorter than usual, since a stage has few iterations.
BETA1, BETA2 = 0.8, 0.95
# Intensities above this count as head.
HEAD_INTENSITY = 0.1
# Intensities above this, and a margin of 8 mm around them, are compared by mutual information.
COMPARED_INTENSITY, COMPARED_MARGIN_MM = 0.05, 8.0


@dataclass(frozen=True)
class Stage:
    """One resolution of the search.

    :param spacing: of the voxels compared, in mm.
    :param iterations: steps of the optimiser.
    :param step: the first step, in mm at the brain's surface.
    :param keep: number of candidates that the next stage continues with.
    :param rigid: rotation and translation only.
    :param local: compare by local correlation instead of mutual information.
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
# From a start with an error of a few millimetres.
LAST_REFINEMENT = (
    Stage(spacing=8.0, iterations=15, step=1.0, keep=1, local=True),
    Stage(spacing=4.0, iterations=8, step=0.4, keep=1, local=True),
)


@torch.enable_grad()
def optimise_affine(
    fixed: PreparedImage,
    moving: PreparedImage,
    start: Affine | None = None,
    refinement: tuple[Stage, ...] = REFINEMENT,
) -> Affine:
    """Find the affine transform of fixed points to moving points that maximises the similarity of two images.

    :param start: a transform to refine; without it, 27 rotations around the centres of mass are tried first.
    :param refinement: the stages that follow the start or the best rotation.
    """
    centre_fixed = centre_of_mass(fixed)
    if start is None:
        centre_moving = centre_of_mass(moving)
        parameters = _rotations(fixed.tensor.device)
        base = np.eye(3)
        stages = (*SEARCH, *refinement)
    else:
        centre_moving = start.apply(centre_fixed)
        parameters = torch.zeros(1, 12, device=fixed.tensor.device)
        base = start.linear
        stages = refinement
    parametrisation = AffineParametrisation(centre_fixed, centre_moving, tensor_from_array(base, torch.float32))
    block_means = _BlockMeans(moving)
    for stage in stages:
        parameters = _run_stage(parameters, stage, parametrisation, fixed, block_means)
    return parametrisation.affine(parameters[0])


def centre_of_mass(image: PreparedImage) -> np.ndarray:
    """Return the centre of the head in LPS mm; all voxels above a threshold have the same weight."""
    weight = (image.tensor > HEAD_INTENSITY).float()
    positions = voxel_grid(image.grid.shape, image.tensor.device)
    middle = (positions * weight).sum(dim=(0, 2, 3, 4)) / weight.sum().clamp(min=1.0)
    return Affine(image.grid.matrix).apply(array_from_tensor(middle.double()))


def _rotations(device: torch.device) -> torch.Tensor:
    angles = torch.tensor(START_ANGLES, device=device)
    return functional.pad(torch.cartesian_prod(angles, angles, angles), (0, 9))


@dataclass(frozen=True)
class AffineParametrisation:
    """Twelve parameters of an affine transform around two centres: rotation, stretch, shear, translation."""

    centre_fixed: np.ndarray
    centre_moving: np.ndarray
    base: torch.Tensor

    def linear(self, parameters: torch.Tensor) -> torch.Tensor:
        """Turn (B, 12) parameters into (B, 3, 3): rotation times stretch and shear, times the start's linear part."""
        rotation = torch.matrix_exp(_cross_matrix(parameters[:, ROTATION]))
        shear = parameters[:, SHEAR]
        shape = torch.diag_embed(parameters[:, STRETCH]) + _symmetric(shear)
        return rotation @ torch.matrix_exp(shape) @ self.base.to(parameters.device)

    def affine(self, parameters: torch.Tensor) -> Affine:
        """Turn (12,) parameters into an affine transform."""
        linear = array_from_tensor(self.linear(parameters[None])[0].double())
        shift = HEAD_RADIUS_MM * array_from_tensor(parameters[SHIFT].double())
        return Affine.about(linear, self.centre_fixed, self.centre_moving + shift)


def _cross_matrix(vector: torch.Tensor) -> torch.Tensor:
    """Turn (B, 3) rotation vectors into their (B, 3, 3) skew-symmetric matrices."""
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)


def _symmetric(shear: torch.Tensor) -> torch.Tensor:
    """Turn (B, 3) into (B, 3, 3) symmetric matrices with a zero diagonal."""
    x, y, z = shear.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, x, y, x, zero, z, y, z, zero], dim=1).view(-1, 3, 3)


def _run_stage(
    parameters: torch.Tensor,
    stage: Stage,
    parametrisation: AffineParametrisation,
    fixed: PreparedImage,
    moving: _BlockMeans,
) -> torch.Tensor:
    """Optimise every candidate at one resolution.

    :param parameters: (B, 12).
    :returns: the ``stage.keep`` best candidates, best first.
    """
    objective = (_LNCCObjective if stage.local else _NMIObjective)(fixed, stage.spacing, parametrisation.centre_fixed)
    factor = _factor(moving.image, stage.spacing)
    image = moving.get(factor)
    to_voxels = tensor_from_array(np.linalg.inv(moving.image.grid.matrix), torch.float32, image.device)
    first = to_voxels[:3, 3:] - (factor - 1) / 2
    centre = tensor_from_array(parametrisation.centre_moving, torch.float32, image.device)
    free = torch.zeros(12, device=image.device)
    free[ROTATION] = free[SHIFT] = 1.0
    if not stage.rigid:
        free[STRETCH] = free[SHEAR] = 1.0
    best, best_value = parameters, torch.full((len(parameters),), -torch.inf, device=image.device)
    optimiser = _AdamAscent(parameters, stage)
    for _ in range(stage.iterations):
        parameters = optimiser.parameters.detach().requires_grad_()
        shift = (centre + HEAD_RADIUS_MM * parameters[:, SHIFT])[..., None]
        points = parametrisation.linear(parameters) @ objective.offsets + shift
        voxels = to_voxels[:3, :3] @ points + first
        images = image.expand(len(parameters), -1, -1, -1, -1)
        similarity = objective(sample(images, voxels[:, :, None, None], padding="zeros")[:, 0, 0, 0])
        improved = similarity.detach() > best_value
        best = torch.where(improved[:, None], parameters.detach(), best)
        best_value = torch.where(improved, similarity.detach(), best_value)
        (gradient,) = torch.autograd.grad(similarity.sum(), parameters)
        optimiser.step(gradient * free)
    return best[best_value.argsort(descending=True)[: stage.keep]]


class _AdamAscent:
    """Adam (Kingma & Ba 2015), maximising, with a cosine learning-rate schedule.

    PyTorch's own optimisers import its compiler, which takes longer (0.8 s) than the whole alignment.
    """

    def __init__(self, parameters: torch.Tensor, stage: Stage) -> None:
        self.parameters = parameters
        self.stage = stage
        self.first = torch.zeros_like(parameters)
        self.second = torch.zeros_like(parameters)
        self.count = 0

    def step(self, gradient: torch.Tensor) -> None:
        """Move along the gradient of the similarity, (B, 12)."""
        length = self.stage.step / HEAD_RADIUS_MM * 0.5 * (1.0 + math.cos(math.pi * self.count / self.stage.iterations))
        self.count += 1
        self.first = BETA1 * self.first + (1 - BETA1) * gradient
        self.second = BETA2 * self.second + (1 - BETA2) * gradient.square()
        direction = self.first / (1 - BETA1**self.count)
        scale = (self.second / (1 - BETA2**self.count)).sqrt() + 1e-8
        self.parameters = self.parameters + length * direction / scale


class _BlockMeans:
    """Moving averages of the moving image over blocks of any size; each is computed once."""

    def __init__(self, image: PreparedImage) -> None:
        self.image = image
        self._by_factor: dict[int, torch.Tensor] = {}

    def get(self, factor: int) -> torch.Tensor:
        """Return :func:`SLSFGRLib.spatial.fields.moving_average` of the image, (1, 1, D, H, W)."""
        if factor not in self._by_factor:
            self._by_factor[factor] = moving_average(self.image.tensor, factor)
        return self._by_factor[factor]


class _NMIObjective:
    """Normalised mutual information of the fixed voxels in and near the head.

    :param centre: LPS point in mm.
    """

    def __init__(self, fixed: PreparedImage, spacing: float, centre: np.ndarray) -> None:
        coarse, grid = _coarse(fixed, spacing)
        window = 2 * max(1, round(COMPARED_MARGIN_MM / spacing)) + 1
        inside = (coarse > COMPARED_INTENSITY).float()
        near = functional.max_pool3d(inside, window, 1, window // 2).flatten() > 0
        self.bins = soft_bins(coarse.flatten()[near], BINS)[None]
        self.offsets = _offsets(grid, centre, coarse.device)[:, near]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the similarity of each candidate, (B,), for (B, N) moving intensities."""
        return normalised_mutual_information(self.bins, values, BINS)


class _LNCCObjective:
    """Local correlation over the whole grid of the fixed image; for one candidate.

    :param centre: LPS point in mm.
    """

    def __init__(self, fixed: PreparedImage, spacing: float, centre: np.ndarray) -> None:
        self.coarse, grid = _coarse(fixed, spacing)
        self.offsets = _offsets(grid, centre, self.coarse.device)
        self.measure = LocalCorrelation(radius=2)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the similarity of the candidate, (1,), for (1, N) moving intensities."""
        return 1.0 - self.measure(values.view_as(self.coarse), self.coarse)[None]


def _offsets(grid: Grid, centre: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return the offsets of a grid's voxels from a point in mm, (3, N)."""
    matrix = tensor_from_array(grid.matrix, torch.float32, device)
    shift = tensor_from_array(grid.matrix[:3, 3] - centre, torch.float32, device)
    return matrix[:3, :3] @ voxel_grid(grid.shape, device)[0].flatten(1) + shift[:, None]


def _factor(image: PreparedImage, spacing: float) -> int:
    """Return the downsampling factor that comes nearest to a spacing in mm."""
    return max(1, round(spacing / image.grid.mean_spacing))


def _coarse(image: PreparedImage, spacing: float) -> tuple[torch.Tensor, Grid]:
    """Average the image down to about the given spacing; return it and its grid."""
    factor = _factor(image, spacing)
    return downsample(image.tensor, factor), image.grid.coarsened(factor)
