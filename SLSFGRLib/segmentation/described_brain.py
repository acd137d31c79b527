"""What a network that segments and registers keeps of one brain, to compare it with another."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..networks.explicit_refinement import appearance
from ..networks.sl_sfgr import Description
from ..spatial.grid import Grid


@dataclass(frozen=True)
class DescribedBrain:
    """What a network that segments and registers has found in one brain, to compare it with another.

    :param description: of an image that is larger than the segmentation, without what explicit steps compare.
    :param shown: that image, (1, 1, d, h, w).
    :param grid: of the image, at 2 mm.
    :param box: of the segmentation in it.
    """

    description: Description
    shown: torch.Tensor
    grid: Grid
    box: tuple[slice, ...]

    def appearance(self, maps: torch.Tensor, tissues: torch.Tensor) -> torch.Tensor:
        """Return what explicit steps compare, of the image's shape; see :func:`.explicit_refinement.appearance`.

        :param maps: in the segmentation's voxels, (1, tissues, d, h, w).
        :param tissues: likewise.
        """
        placed = self.shown.new_zeros(1, maps.shape[1] + tissues.shape[1], *self.shown.shape[2:])
        placed[(..., *self.box)] = torch.cat([maps, tissues], dim=1)
        return appearance(self.shown, *placed.split([maps.shape[1], tissues.shape[1]], dim=1))
