"""Random poses of heads: affine maps of points in mm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from .rng import chance, signed, uniform
from .settings import Synthesis

# How far below the centre of the brain an image lies that shows little or none of it.
NECK_MM = (120.0, 200.0)


@dataclass(frozen=True)
class Pose:
    """An affine map of points in mm: ``linear @ point + shift``.

    :param linear: 3x3.
    :param shift: (3,).
    """

    linear: torch.Tensor
    shift: torch.Tensor

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Map (1, 3, D, H, W) points."""
        linear, shift = self.linear.to(points.device), self.shift.to(points.device)
        # No matrix product: it would lose tenths of a millimetre in a trainer's mixed precision.
        mapped = shift.view(1, 3, 1, 1, 1).expand_as(points).contiguous()
        for axis in range(3):
            mapped.addcmul_(linear[:, axis].view(1, 3, 1, 1, 1), points[:, axis : axis + 1])
        return mapped

    def after(self, first: Pose) -> Pose:
        """Return the map that applies another map first, then this one."""
        return Pose(self.linear @ first.linear, self.linear @ first.shift + self.shift)


def random_affine(degrees: float, scale: float, shear: float, shift: float, generator: torch.Generator) -> Pose:
    """Draw a rotation, scaling, shear and shift about the origin, each uniform within its limits.

    :param degrees: largest rotation about each axis.
    :param scale: largest relative change of length along each axis.
    :param shear: largest shear of each axis along each other.
    :param shift: largest shift along each axis, in mm.
    """
    x, y, z = (signed(generator) * math.radians(degrees)).tolist()
    rotation = torch.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    scaling = torch.diag(1.0 + scale * signed(generator))
    shearing = torch.eye(3) + shear * torch.triu(signed(generator, 9).view(3, 3), 1)
    return Pose(rotation @ shearing @ scaling, shift * signed(generator))


def random_rotation(generator: torch.Generator) -> Pose:
    """Draw a rotation about the origin, all being equally likely (Shoemake 1992)."""
    w, x, y, z = functional.normalize(torch.randn(4, generator=generator), dim=0).tolist()
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return Pose(torch.tensor(rows), torch.zeros(3))


def random_pose(synthesis: Synthesis, generator: torch.Generator) -> Pose:
    """Draw the pose of a head in a scanner."""
    if synthesis.any_pose_chance and chance(generator, synthesis.any_pose_chance):
        any_way = random_rotation(generator)
        shape = random_affine(0.0, synthesis.scale, synthesis.shear, synthesis.shift_mm, generator)
        return Pose(shape.linear @ any_way.linear, shape.shift)
    large = chance(generator, synthesis.large_rotation_chance)
    limit = synthesis.large_rotation_degrees if large else synthesis.rotation_degrees
    return random_affine(limit, synthesis.scale, synthesis.shear, synthesis.shift_mm, generator)


def below_the_brain(pose: Pose, generator: torch.Generator) -> Pose:
    """Return a pose that shows the neck where the brain was."""
    # The first axis points upwards. Label maps end about 130 mm below the centre of the brain.
    return Pose(pose.linear, pose.shift - torch.tensor([uniform(generator, *NECK_MM), 0.0, 0.0]))


def residual_pose(synthesis: Synthesis, generator: torch.Generator) -> Pose:
    """Draw what an affine registration of two heads may leave."""
    scale = synthesis.pair_scale
    return random_affine(synthesis.pair_rotation_degrees, scale, scale, synthesis.pair_shift_mm, generator)
