"""Random deformations: smooth displacements without folding, drawn as stationary velocities and integrated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..spatial.fields import integrate, resize_image, vector_norms, voxel_grid
from .poses import Pose
from .rng import smooth_noise, uniform
from .settings import Synthesis

# Control points along each axis of an elastic deformation, as TorchIO's RandomElasticDeformation has by default.
CONTROL_POINTS = 7
# Spacing of the grid on which a multi-scale deformation is computed, and of its velocities' control points, in mm.
# Chosen, not measured.
COARSE_MM = 8.0
SCALES_MM = (24.0, 48.0, 96.0)
INTEGRATION_STEPS = 5


def random_elastic_deformation(shape: Sequence[int], deviation: float, generator: torch.Generator) -> torch.Tensor:
    """Draw normally distributed velocities at a few control points.

    :param deviation: standard deviation of the velocities, in voxels.
    :returns: displacement field, (1, 3, D, H, W) in voxels.
    """
    points = torch.randn(1, 3, *[CONTROL_POINTS] * 3, generator=generator)
    if deviation == 0.0:
        return torch.zeros(1, 3, *shape)
    return integrate(resize_image(points, shape) * deviation, INTEGRATION_STEPS)


def random_multiscale_deformation(
    shape: Sequence[int], spacing: float, limit: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw a sum of velocities of several smoothnesses, each with a random weight.

    It is small work, and done on the CPU, so that every device gets the same.

    :param spacing: of the grid, in mm.
    :param limit: upper limit of the largest velocity in mm; the largest itself is uniform below it.
    :returns: displacement field, (1, 3, d, h, w) in mm, on a coarse grid over the same box.
    """
    coarse = [max(4, math.ceil(size * spacing / COARSE_MM)) for size in shape]
    step = torch.tensor([size * spacing / count for size, count in zip(shape, coarse, strict=True)])
    velocity = torch.zeros(1, 3, *coarse)
    for scale in SCALES_MM:
        weight = uniform(generator)
        velocity += weight * smooth_noise(generator, coarse, 3, scale / COARSE_MM, velocity.device)
    velocity *= limit * uniform(generator) / vector_norms(velocity).max()
    step = step.view(1, 3, 1, 1, 1)
    return integrate(velocity / step, INTEGRATION_STEPS) * step


def random_points(
    shape: Sequence[int],
    spacing: float,
    synthesis: Synthesis,
    pose: Pose,
    generator: torch.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Return where each voxel of a grid is sampled: its own point, deformed at random and moved by a pose.

    :param spacing: of the grid, in mm.
    :returns: (1, 3, D, H, W), in mm from the centre of the brain.
    """
    displacement = random_multiscale_deformation(shape, spacing, synthesis.deformation_mm, generator).to(device)
    return pose(centred_points(shape, spacing, device) + resize_image(displacement, shape))


def centred_points(shape: Sequence[int], spacing: float, device: torch.device | None = None) -> torch.Tensor:
    """Return the points of a grid in mm from its centre, (1, 3, D, H, W)."""
    centre = torch.tensor([(size - 1) / 2.0 for size in shape], device=device).view(1, 3, 1, 1, 1)
    return (voxel_grid(shape, device) - centre) * spacing
