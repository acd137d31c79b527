"""Images made from label maps once, and paired over and over: making one takes as long as learning from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import torch

from ... import synthesis
from ...io.label_table import mirrored_channels
from ...spatial.fields import downsample
from ...synthesis import LabelMap, Synthesis
from ...synthesis.rng import chance, whole_number

# Images that lie alike, roughly aligned: any two of them are a pair.
GROUP = 8
# Labels are kept with voxels of so many of the image's a side, those of the networks' fields.
LABEL_FACTOR = 2
# A label's share of a voxel is kept in this many parts: the eighths of each of the voxel's eighths.
PARTS = 64


@dataclass(frozen=True)
class KeptImage:
    """An image in compact form.

    :param image: (1, 1, D, H, W) half-precision, from 0 to 1.
    :param shares: (1, CHANNELS, D / 2, H / 2, W / 2) uint8, of :data:`PARTS`: what each channel fills of each voxel.
    :param contrast: the kind of contrast it has.
    :param number: of the map it was made from.
    """

    image: torch.Tensor
    shares: torch.Tensor
    contrast: str
    number: int

    @classmethod
    def of(cls, sample: synthesis.Sample) -> KeptImage:
        """The whole anatomy of a sample, seen or not."""
        shares = PARTS * downsample(synthesis.fractions(sample.anatomy), LABEL_FACTOR)
        return cls(sample.image.half(), shares.round().byte(), sample.contrast.name, sample.number)

    def restored(self, flipped: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The image and its shares from 0 to 1, with left and right swapped or not."""
        image, shares = self.image.float(), self.shares.float() / PARTS
        if not flipped:
            return image, shares
        mirrored = torch.as_tensor(mirrored_channels(), dtype=torch.long, device=shares.device)
        return image.flip(4), shares.flip(4)[:, mirrored]


class RenderedImages:
    """Groups of images that lie alike.

    :param maps: :func:`SLSFGRLib.synthesis.in_one_frame`, on the device to work on.
    :param shape: of the images.
    :param spacing: of their voxels, in mm.
    :param count: of the images, at least; they come in groups of :data:`GROUP`.
    :param seed: decides all of them.
    :param update: called with the fraction done.
    """

    def __init__(
        self,
        maps: list[LabelMap],
        shape: tuple[int, ...],
        settings: Synthesis,
        spacing: float,
        count: int,
        seed: int,
        update: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        self.settings = settings
        self.groups: list[list[KeptImage]] = []
        generator = torch.Generator().manual_seed(seed)
        for number in range(-(-count // GROUP)):
            update(number * GROUP / count)
            samples = synthesis.draw_group(maps, shape, settings, generator, GROUP, spacing)
            self.groups.append([KeptImage.of(sample) for sample in samples])

    def draw(self, generator: torch.Generator) -> tuple[KeptImage, KeptImage]:
        """Two images of a group, as unlike or alike as the settings want them if the group has such."""
        group = self.groups[whole_number(generator, len(self.groups))]
        wanted = (
            chance(generator, self.settings.same_anatomy_chance),
            chance(generator, self.settings.same_contrast_chance),
        )
        pairs = list(permutations(group, 2))
        fitting = [(a, b) for a, b in pairs if (a.number == b.number, a.contrast == b.contrast) == wanted] or pairs
        return fitting[whole_number(generator, len(fitting))]
