"""No network at all: the fields themselves are the parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..spatial.fields import integrate, smooth
from .li_fan import VELOCITY_BLUR


class FreeFields(nn.Module):
    """Gives the same fields whatever the images; optimising them is classical registration.

    Any objective of a network can so be optimised directly on the field.

    :param shape: of the images, sizes multiples of 4.
    :param diffeomorphic: the parameters are stationary velocities and are integrated.
    """

    def __init__(self, shape: Sequence[int], diffeomorphic: bool = True) -> None:
        super().__init__()
        self.diffeomorphic = diffeomorphic
        self.fields = nn.ParameterList(
            nn.Parameter(torch.zeros(1, 3, *[size // factor for size in shape])) for factor in (4, 2, 1)
        )

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Give the fields at 1/4, 1/2 and 1 of the resolution, each in its own voxels; images are not read."""
        fields = list(self.fields)
        return [integrate(smooth(field, VELOCITY_BLUR)) for field in fields] if self.diffeomorphic else fields
