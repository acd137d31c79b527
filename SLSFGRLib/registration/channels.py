"""Named channels of a brain, which a registration compares with those of another brain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from ..segmentation.subject import Subject
from ..segmentation.tissue_maps import MAPS
from ..spatial.grid import Grid

INTENSITY = "intensity"
# The intensity as it was given, beside one that was mapped to the contrast of the other image.
GIVEN_INTENSITY = "given intensity"


@dataclass(frozen=True)
class ChannelImage:
    """Channels of one brain on one grid.

    :param channels: by name, each (1, 1, D, H, W), from 0 to 1.
    :param compared: weight of each voxel, (1, 1, D, H, W), from 0 to 1; None for 1 everywhere.
    """

    grid: Grid
    channels: Mapping[str, torch.Tensor]
    compared: torch.Tensor | None = None

    @classmethod
    def from_subject(cls, subject: Subject, tissues: bool = False) -> ChannelImage:
        """Return the intensity of a subject and, if wanted, its tissue probability maps.

        :param tissues: the subject must be segmented.
        """
        channels = {INTENSITY: subject.prepared.tensor}
        if tissues:
            channels |= dict(zip(MAPS, subject.tissues.split(1, dim=1), strict=True))
        return cls(subject.grid, channels, subject.compared)

    @property
    def device(self) -> torch.device:
        """Where the channels lie."""
        return next(iter(self.channels.values())).device

    def stack(self, names: Iterable[str]) -> torch.Tensor:
        """Return the named channels side by side, (1, C, D, H, W)."""
        parts = [self.channels[name] for name in names]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def replace(self, name: str, channel: torch.Tensor) -> ChannelImage:
        """Return the same with another channel of this name."""
        return ChannelImage(self.grid, {**self.channels, name: channel}, self.compared)
