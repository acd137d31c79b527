"""Apply a network at several resolutions in turn, each time to what its fields have warped so far."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..spatial.fields import compose, pad_to_multiple, resize_field, smooth

# Standard deviation, in voxels, of the smoothing of a field after each further round (elastic regularisation), as at
# the finest level of direct optimisation.
FIELD_SIGMA = 0.5


class NetworkLevel:
    """One resolution of a registration by a network.

    :param fixed: (1, 1, D, H, W).
    :param warped: called with a field (1, 3, D, H, W) in voxels of ``fixed``; returns the moving image warped by it.
    :param multiple: the images that the network takes have sizes that are multiples of it.
    """

    def __init__(self, fixed: torch.Tensor, warped: Callable[[torch.Tensor], torch.Tensor], multiple: int) -> None:
        self.shape = fixed.shape[2:]
        self.fixed = pad_to_multiple(fixed, multiple)
        self.warped, self.multiple = warped, multiple

    def moving(self, displacement: torch.Tensor) -> torch.Tensor:
        """Return the moving image as the network takes it, warped by what was found so far."""
        return pad_to_multiple(self.warped(displacement), self.multiple)

    def start(self, displacement: torch.Tensor | None) -> torch.Tensor:
        """Return what a coarser level has found, on the grid of this level; zeros if there is none."""
        if displacement is None:
            return torch.zeros(1, 3, *self.shape, device=self.fixed.device)
        return resize_field(displacement, self.shape)

    def improved(self, displacement: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        """Return what was found so far, composed with the network's field for the images that it has warped."""
        field = resize_field(field, self.fixed.shape[2:])
        found = field[:, :, : self.shape[0], : self.shape[1], : self.shape[2]]
        return smooth(compose(displacement, found), FIELD_SIGMA) if displacement.any() else found


@torch.no_grad()
def rounds_of(
    network: Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]],
    level: NetworkLevel,
    displacement: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Apply a network a number of times at a level; return the field found so far."""
    for _ in range(count):
        displacement = level.improved(displacement, network(level.moving(displacement), level.fixed)[-1])
    return displacement
