"""Random shape and pose: which class lies in each eighth of a voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch

from ..spatial.fields import central_differences, integrate, resize_image, vector_norms, voxel_grid
from .label_maps import SPACING, LabelMap
from .poses import Pose
from .rng import smooth_noise, uniform
from .settings import Synthesis

# The deformation is computed on voxels of this many mm, its velocity drawn at these distances of knots.
COARSE_MM = 8.0
SCALES_MM = (24.0, 48.0, 96.0)


def random_positions(
    shape: Sequence[int],
    spacing: float,
    synthesis: Synthesis,
    pose: Pose,
    generator: torch.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Where each voxel of a grid comes from, before any flip.

    :param spacing: of the grid, in mm.
    :param pose: of the head, to which a random diffeomorphism is added.
    :returns: (1, 3, D, H, W), in mm from the middle of the brain.
    """
    displacement = _random_diffeomorphism(shape, spacing, synthesis, generator).to(device)
    middle = torch.tensor([(size - 1) / 2.0 for size in shape], device=device).view(1, 3, 1, 1, 1)
    place = (voxel_grid(shape, device) - middle) * spacing + resize_image(displacement, shape)
    return pose(place)


def sample_classes(heads: LabelMap, positions: torch.Tensor, spacing: float, flipped: bool) -> torch.Tensor:
    """Read a label map in eight places of each voxel, a quarter of a voxel from its middle along each axis.

    Positions are in the frame that the maps share (see :func:`label_maps.in_one_frame`).

    :param positions: (1, 3, D, H, W) in mm from the middle of the brain.
    :param flipped: left and right are swapped; the classes are still those that the map has there.
    :returns: (8, D, H, W) uint8.
    """
    if flipped:
        positions = positions * positions.new_tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1, 1)
    if heads.pose is not None:
        positions = heads.pose(positions)
    # Half a voxel is added so that cutting off the fraction rounds.
    middle = positions.new_tensor(heads.centre).view(3, 1, 1, 1) + 0.5
    centre = positions[0] / SPACING + middle
    quarters = central_differences(positions)[0] / (4.0 * SPACING)
    values = heads.classes.flatten()
    sizes = heads.classes.shape
    out = torch.empty((8, *positions.shape[2:]), dtype=torch.uint8, device=values.device)
    for octant, signs in enumerate(product((-1.0, 1.0), repeat=3)):
        # The deformation is smooth: its derivative says where the eighths of a voxel lie.
        place = centre + signs[0] * quarters[:, 0]
        place.add_(quarters[:, 1], alpha=signs[1]).add_(quarters[:, 2], alpha=signs[2])
        index = torch.zeros_like(place[0], dtype=torch.int32)
        for axis, size in enumerate(sizes):
            # The map ends in air on every side, which is what lies beyond it.
            index.mul_(size).add_(place[axis].clamp_(0, size - 1).int())
        torch.index_select(values, 0, index.flatten(), out=out[octant].view(-1))
    return out


def _random_diffeomorphism(
    shape: Sequence[int], spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """A smooth displacement without folds in mm, (1, 3, ...) on a coarse grid over the same box.

    It is small work, and done on the CPU, so that every device gets the same.
    """
    coarse = [max(4, math.ceil(size * spacing / COARSE_MM)) for size in shape]
    step = torch.tensor([size * spacing / count for size, count in zip(shape, coarse, strict=True)])
    velocity = torch.zeros(1, 3, *coarse)
    for scale in SCALES_MM:
        weight = uniform(generator)
        velocity += weight * smooth_noise(generator, coarse, 3, scale / COARSE_MM, velocity.device)
    velocity *= synthesis.deformation_mm * uniform(generator) / vector_norms(velocity).max()
    step = step.view(1, 3, 1, 1, 1)
    return integrate(velocity / step, steps=5) * step
