"""A pool of synthetic images that are paired repeatedly: making one takes as long as a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations

import torch

from ...io.label_table import mirrored_channels
from ...spatial.fields import downsample
from ...synthesis import LabelMap, Sample, Synthesiser, partial_volume_labels
from ...synthesis.rng import chance, whole_number

# Images of a group are roughly aligned: any two of them are a pair. Chosen, not measured.
GROUP = 8
# Downsampling factor of the labels: the one of the networks' fields.
LABEL_FACTOR = 2
# Tissue fractions are stored as numbers of this many parts: the eighths of each of the voxel's eighths.
PARTS = 64


@dataclass(frozen=True)
class SyntheticImage:
    """A synthetic image with its labels in compact form.

    :param image: (1, 1, D, H, W) half-precision, from 0 to 1.
    :param labels: (1, channels, D / 2, H / 2, W / 2) uint8: partial-volume labels times :data:`PARTS`.
    :param contrast: name of the contrast.
    :param number: of the label map.
    """

    image: torch.Tensor
    labels: torch.Tensor
    contrast: str
    number: int

    @classmethod
    def from_sample(cls, sample: Sample) -> SyntheticImage:
        """Compress a sample; the labels are of the whole anatomy, visible or not."""
        labels = PARTS * downsample(partial_volume_labels(sample.anatomy), LABEL_FACTOR)
        return cls(sample.image.half(), labels.round().byte(), sample.contrast.name, sample.number)

    def restore(self, flipped: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image and its labels from 0 to 1, with left and right swapped or not."""
        image, labels = self.image.float(), self.labels.float() / PARTS
        if not flipped:
            return image, labels
        mirrored = torch.as_tensor(mirrored_channels(), dtype=torch.long, device=labels.device)
        return image.flip(4), labels.flip(4)[:, mirrored]


class Storage:
    """Memory for many images of one shape, requested at once.

    Images that are kept one by one lie between larger tensors that are freed. These leave gaps that are soon too small
    for the next ones: 256 images of 2.7 MB made a process grow to 8.9 GB.

    :param first: an image of this shape.
    :param count: of the images.
    """

    def __init__(self, first: SyntheticImage, count: int) -> None:
        self.free = [part.new_empty((count, *part.shape)) for part in (first.image, first.labels)]

    def copy_of(self, image: SyntheticImage) -> SyntheticImage:
        """Return a copy of an image that lies here."""
        kept = [part[0].copy_(own) for part, own in zip(self.free, (image.image, image.labels), strict=True)]
        self.free = [part[1:] for part in self.free]
        return replace(image, image=kept[0], labels=kept[1])


class SyntheticImages:
    """Groups of roughly aligned images.

    :param maps: :func:`SLSFGRLib.synthesis.align_label_maps`, on the device to work on.
    :param count: of the images, at least; they come in groups of :data:`GROUP`.
    :param seed: decides all of them.
    :param update: called with the fraction done.
    """

    def __init__(
        self,
        maps: list[LabelMap],
        synthesiser: Synthesiser,
        count: int,
        seed: int,
        update: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        self.settings = synthesiser.settings
        self.groups: list[list[SyntheticImage]] = []
        generator, storage, groups = torch.Generator().manual_seed(seed), None, -(-count // GROUP)
        for number in range(groups):
            update(number / groups)
            images = [SyntheticImage.from_sample(sample) for sample in synthesiser.group(maps, GROUP, generator)]
            storage = storage or Storage(images[0], groups * GROUP)
            self.groups.append([storage.copy_of(image) for image in images])

    def draw(self, generator: torch.Generator) -> tuple[SyntheticImage, SyntheticImage]:
        """Draw two images of a group, of the same anatomy or contrast as often as the settings say, if it has such."""
        group = self.groups[whole_number(generator, len(self.groups))]
        wanted = (
            chance(generator, self.settings.same_anatomy_chance),
            chance(generator, self.settings.same_contrast_chance),
        )
        pairs = list(permutations(group, 2))
        fitting = [(a, b) for a, b in pairs if (a.number == b.number, a.contrast == b.contrast) == wanted] or pairs
        return fitting[whole_number(generator, len(fitting))]
