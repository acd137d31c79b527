"""How heads lie: turned, stretched and shifted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .rng import chance, signed
from .settings import Synthesis


@dataclass(frozen=True)
class Pose:
    """An affine map of places in mm: ``linear @ place + shift``.

    :param linear: 3x3.
    :param shift: (3,).
    """

    linear: torch.Tensor
    shift: torch.Tensor

    def __call__(self, places: torch.Tensor) -> torch.Tensor:
        """Move (1, 3, D, H, W) places."""
        linear, shift = self.linear.to(places.device), self.shift.to(places.device)
        # Written out: as a product of matrices it would lose tenths of a millimetre in a trainer's mixed precision.
        moved = shift.view(1, 3, 1, 1, 1).expand_as(places).contiguous()
        for axis in range(3):
            moved.addcmul_(linear[:, axis].view(1, 3, 1, 1, 1), places[:, axis : axis + 1])
        return moved

    def after(self, first: Pose) -> Pose:
        """One map that does first another, then this."""
        return Pose(self.linear @ first.linear, self.linear @ first.shift + self.shift)


def random_pose(synthesis: Synthesis, generator: torch.Generator) -> Pose:
    """How a head may lie in a scanner."""
    large = chance(generator, synthesis.large_rotation_chance)
    limit = synthesis.large_rotation_degrees if large else synthesis.rotation_degrees
    return _drawn(limit, synthesis.scale, synthesis.shear, synthesis.shift_mm, generator)


def residual_pose(synthesis: Synthesis, generator: torch.Generator) -> Pose:
    """What an affine alignment of two heads may have left."""
    stretch = synthesis.pair_scale
    return _drawn(synthesis.pair_rotation_degrees, stretch, stretch, synthesis.pair_shift_mm, generator)


def _drawn(degrees: float, scale: float, shear: float, shift: float, generator: torch.Generator) -> Pose:
    x, y, z = (signed(generator) * math.radians(degrees)).tolist()
    rotation = torch.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    stretch = torch.diag(1.0 + scale * signed(generator))
    shearing = torch.eye(3) + shear * torch.triu(signed(generator, 9).view(3, 3), 1)
    return Pose(rotation @ shearing @ stretch, shift * signed(generator))
