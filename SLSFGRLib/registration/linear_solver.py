"""Find the rigid or affine transform between two whole images, more exactly than the start of a deformation needs.

From coarse to fine, Gauss-Newton steps maximise first the mutual information of scattered voxels, then the local
correlation of small blocks, which shading does not disturb and whose optimum is sharper. The image with the thicker
slices gives the samples; the other one is averaged over the slices' thickness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from .linear_image import Interpolator, LinearImage, slice_profile
from .linear_similarity import BlocksAndHistogram, Linearisation, MutualInformation, Similarity

# Converts radians and relative lengths to mm at the head's surface.
HEAD_RADIUS_MM = 60.0
# A step that moves no point of the head by more than this fraction of the level's spacing is the last.
TOLERANCE = 0.005
# Levenberg-Marquardt damping: relative to the curvature's diagonal, and its factors after a good and a bad step.
# Blocks with less variance show only noise, and so many times the wanted number are tried. Chosen: 2 % of the range.
MIN_BLOCK_VARIANCE, TRIED_BLOCKS = 4e-4, 4
DAMPING, LESS, MORE = 1e-2, 0.3, 8.0


@dataclass(frozen=True)
class Level:
    """One resolution.

    :param spacing: of the voxels in mm, where the image has finer ones.
    :param samples: at most, of the reference image.
    :param block_mm: edge of the blocks that are compared by local correlation; 0 for mutual information.
    :param iterations: at most.
    """

    spacing: float
    samples: int
    block_mm: float = 0.0
    iterations: int = 8


COARSE = (Level(8.0, 8_000, iterations=12), Level(4.0, 30_000, iterations=10))
FINE = (Level(2.0, 80_000, 10.0), Level(1.0, 120_000, 6.0))


@dataclass(frozen=True)
class Aligned:
    """A pose and how similar the images are in it.

    :param pose: reference points to points of the other image.
    :param value: of the last level's similarity.
    """

    pose: Affine
    value: float


def solve(
    reference: LinearImage, other: LinearImage, start: Affine, levels: tuple[Level, ...], is_rigid: bool = True
) -> Aligned:
    """Refine a pose.

    :param start: reference points to points of the other image.
    """
    found = Aligned(start, 0.0)
    for level in levels:
        (found,) = LevelProblem(reference, other, level, found.pose).maximise([found.pose], is_rigid)
    return found


class LevelProblem:
    """The similarity of two images at one resolution, as a function of the pose."""

    def __init__(self, reference: LinearImage, other: LinearImage, level: Level, pose: Affine) -> None:
        self.level = level
        coarse = reference.at(level.spacing)
        voxels = _block_voxels(coarse, level) if level.block_mm else _scattered_voxels(coarse, level)
        index = voxels.flatten(0, -2)
        values = coarse.tensor[0, 0][tuple(index.T)]
        self.points = coarse.positions(index)
        self.similarity: Similarity = (
            BlocksAndHistogram(values.view(voxels.shape[:2])) if level.block_mm else MutualInformation(values)
        )
        self.centre = self.points.mean(0)
        profile = slice_profile(reference, other, pose, level.spacing)
        self.interpolator = Interpolator(other.at(level.spacing), profile)

    def maximise(self, poses: Sequence[Affine], is_rigid: bool) -> list[Aligned]:
        """Take steps from each pose until they are small."""
        optimisers = [_PoseOptimiser(pose) for pose in poses]
        self._evaluate(optimisers, [optimiser.pose for optimiser in optimisers], is_rigid)
        moving = optimisers
        for _ in range(self.level.iterations):
            steps = [optimiser.step() for optimiser in moving]
            centre = array_from_tensor(self.centre)
            moved = [
                optimiser.pose.then(_motion(step, optimiser.pose.apply(centre)))
                for optimiser, step in zip(moving, steps, strict=True)
            ]
            self._evaluate(moving, moved, is_rigid)
            smallest = TOLERANCE * self.level.spacing
            moving = [optimiser for optimiser, step in zip(moving, steps, strict=True) if step.abs().max() >= smallest]
            if not moving:
                break
        return [Aligned(optimiser.pose, float(optimiser.value)) for optimiser in optimisers]

    def _evaluate(self, optimisers: Sequence[_PoseOptimiser], poses: Sequence[Affine], is_rigid: bool) -> None:
        """Offer a pose to each optimiser."""
        around = self.linearised(poses, is_rigid)
        for place, (optimiser, pose) in enumerate(zip(optimisers, poses, strict=True)):
            optimiser.update(pose, around.value[place], around.gradient[place], around.curvature[place])

    def linearised(self, poses: Sequence[Affine], is_rigid: bool) -> Linearisation:
        """Return the similarity around some poses; the parameters are those of :func:`_motion`."""
        matrices = tensor_from_array(np.stack([pose.matrix for pose in poses]), device=self.points.device)
        moved = self.points @ matrices[:, :3, :3].mT + matrices[:, None, :3, 3]
        values, slopes, inside = self.interpolator(moved.flatten(0, 1))
        slopes = slopes.view(moved.shape)
        centres = self.centre @ matrices[:, :3, :3].mT + matrices[:, :3, 3]
        arms = (moved - centres[:, None]).float() / HEAD_RADIUS_MM
        parts = [slopes, torch.linalg.cross(arms, slopes)]
        if not is_rigid:
            parts += [arms * slopes, arms * slopes.roll(1, -1) + arms.roll(1, -1) * slopes]
        each = moved.shape[:2]
        return self.similarity(values.view(each), torch.cat(parts, dim=-1), inside.view(each))


class _PoseOptimiser:
    """A pose that improves by damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963)."""

    def __init__(self, pose: Affine) -> None:
        self.pose, self.value = pose, torch.tensor(-torch.inf)
        self._gradient = self._curvature = torch.empty(0)
        # The first update is with its own pose, which is no step.
        self._damping = DAMPING / LESS

    def update(self, pose: Affine, value: torch.Tensor, gradient: torch.Tensor, curvature: torch.Tensor) -> None:
        """Go to a pose if the images are more alike there, and take longer or shorter steps from now on."""
        if value > self.value:
            self.pose, self.value, self._gradient, self._curvature = pose, value, gradient, curvature
            self._damping *= LESS
        else:
            self._damping *= MORE

    def step(self) -> torch.Tensor:
        """Return the parameters of the next step."""
        diagonal = self._curvature.diagonal()
        damped = self._curvature + torch.diag(self._damping * diagonal + 1e-6 * diagonal.max() + 1e-12)
        step = torch.linalg.solve(damped, self._gradient)
        # A step of more than a voxel or so is beyond what the derivatives know.
        return step / max(1.0, float(step.abs().max()) / 8.0)


def _motion(step: torch.Tensor, centre: np.ndarray) -> Affine:
    """Return translation, rotation and, for twelve parameters, stretch and shear around a point, all in mm."""
    values = array_from_tensor(step)
    x, y, z = values[3:6] / HEAD_RADIUS_MM
    linear = _exponential(np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    if len(values) > 6:
        stretch, shear = values[6:9] / HEAD_RADIUS_MM, values[9:12] / HEAD_RADIUS_MM
        shape = np.diag(stretch)
        for axis in range(3):
            shape[axis, axis - 1] = shape[axis - 1, axis] = shear[axis]
        linear = linear @ _exponential(shape)
    return Affine.about(linear, centre, centre + values[:3])


def _exponential(matrix: np.ndarray) -> np.ndarray:
    return array_from_tensor(torch.matrix_exp(tensor_from_array(matrix)))


def _scattered_voxels(image: LinearImage, level: Level) -> torch.Tensor:
    """Draw voxels in and near the head, (N, 3)."""
    voxels = torch.nonzero(image.head())
    if image.compared is not None:
        voxels = voxels[image.is_compared(image.positions(voxels))]
    return voxels[drawn(len(voxels), level.samples, voxels.device)]


def _block_voxels(image: LinearImage, level: Level) -> torch.Tensor:
    """Draw blocks of voxels that show something, (blocks, samples, 3)."""
    counts = np.clip(np.round(level.block_mm / image.grid.spacing), 2, 7).astype(int)
    counts = np.minimum(counts, image.grid.shape)
    device = image.tensor.device
    block = torch.cartesian_prod(*[torch.arange(int(count), device=device) for count in counts])
    places = np.subtract(image.grid.shape, counts) + 1
    most = level.samples // len(block)
    tried = np.random.default_rng(0).integers(0, places, (TRIED_BLOCKS * most, 3))
    voxels = tensor_from_array(tried, device=device)[:, None] + block
    variances = image.tensor[0, 0][tuple(voxels.movedim(-1, 0))].var(dim=1)
    usable = variances > MIN_BLOCK_VARIANCE
    if image.compared is not None:
        usable &= image.is_compared(image.positions(voxels.float().mean(dim=1)))
    return voxels[usable][:most]


def drawn(count: int, most: int, device: torch.device) -> torch.Tensor:
    """Return at most so many of the numbers below ``count``, always the same."""
    # The command does without the parts of PyTorch that its own generator of random numbers needs.
    return tensor_from_array(np.random.default_rng(0).permutation(count)[:most], device=device)
