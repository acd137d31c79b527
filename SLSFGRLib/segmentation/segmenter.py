"""Run the segmentation network on a prepared image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..io.label_table import mirrored_channels
from ..networks import SLSFGRNetwork
from ..preprocessing import PreparedImage
from ..spatial.arrays import tensor_from_array
from ..spatial.fields import downsample
from ..spatial.grid import Grid
from .intensity_model import IntensityModel
from .structures import StructureCentroids

# From the prepared image to the network: it works at 2 mm.
DOWNSAMPLING_FACTOR = 2
# Segmentations after mapping to T1 intensities; and by how much the mean probability must rise for one to be preferred
# to that of the image as it is. Chosen on rendered heads (docs/develop/experiments.md#segmentation).
MAPPED_PASSES, MIN_GAIN = 2, 0.02
# Subtracted from a logit to exclude a structure; others differ by less.
IMPOSSIBLE = 50.0


@dataclass(frozen=True)
class Segmentation:
    """The network's segmentation of one brain, and what follows from it.

    :param logits: (1, 1 + structures, d, h, w), at 2 mm.
    :param posteriors: their softmax.
    :param grid: of the logits.
    :param intensity_model: the intensity of each structure in this image.
    :param structures: volumes and centroids.
    """

    logits: torch.Tensor
    posteriors: torch.Tensor
    grid: Grid
    intensity_model: IntensityModel
    structures: StructureCentroids


def run_network(image: PreparedImage, network: SLSFGRNetwork) -> Segmentation:
    """Segment a prepared image.

    The network handles any contrast, but T1 best: it was trained on real T1 images beside synthetic ones. An image in
    another contrast is therefore segmented again after mapping it to T1 intensities, and once more after a mapping that
    follows from that segmentation. Of the three, that counts which the network is surest of. The logits are the mean of
    those of the image and of its mirror image, which is more accurate than either.
    """
    grid = image.grid.coarsened(DOWNSAMPLING_FACTOR)
    coarse = downsample(image.tensor, DOWNSAMPLING_FACTOR)
    penalty = _penalty_far_from_brain(image)
    first = best = last = _Pass.of(coarse, coarse, network, penalty)
    for _ in range(0 if first.model.is_t1_like else MAPPED_PASSES):
        if not last.model.can_map_to_t1:
            break
        mapped = downsample(last.model.map_to_t1(image.tensor), DOWNSAMPLING_FACTOR)
        last = _Pass.of(mapped, coarse, network, penalty)
        if last.confidence > best.confidence + (MIN_GAIN if best is first else 0.0):
            best = last
    structures = StructureCentroids.from_posteriors(best.posteriors[0, 1:], grid)
    return Segmentation(best.logits, best.posteriors, grid, best.model, structures)


@dataclass(frozen=True)
class _Pass:
    """One segmentation of an image: logits, their softmax, and the intensity model that fits."""

    logits: torch.Tensor
    posteriors: torch.Tensor
    model: IntensityModel

    @classmethod
    def of(
        cls, shown: torch.Tensor, image: torch.Tensor, network: SLSFGRNetwork, penalty: torch.Tensor | float
    ) -> _Pass:
        """Segment what is shown to the network, and fit the intensities of the image itself."""
        logits = _logits(shown, network) - penalty
        posteriors = _softmax(logits)
        return cls(logits, posteriors, IntensityModel.fit(posteriors, image))

    @property
    def confidence(self) -> float:
        """The mean probability, in the brain, of the most probable structure."""
        inside = self.posteriors[0, 0] < 0.5
        return float(self.posteriors[0].amax(dim=0)[inside].mean()) if inside.any() else 0.0


def _penalty_far_from_brain(image: PreparedImage) -> torch.Tensor | float:
    """Return what is subtracted from the logits of all structures, so that none is found far from the brain."""
    if image.near_brain is None:
        return 0.0
    far = downsample(image.near_brain, DOWNSAMPLING_FACTOR) < 0.5
    structures = len(mirrored_channels()) - 1
    is_structure = torch.tensor([0.0] + [1.0] * structures, device=far.device).view(1, -1, 1, 1, 1)
    return (IMPOSSIBLE * far) * is_structure


def _logits(image: torch.Tensor, network: SLSFGRNetwork) -> torch.Tensor:
    """Return the mean of the logits for an image at 2 mm and for its mirror image, (1, 1 + structures, d, h, w)."""
    # Left and right lie along the last axis.
    both, box = _pad_around(torch.cat([image, image.flip(4)]), network.size_multiple)
    # Channels last, as they lie in memory; a product with a permutation is faster than an index along the last axis.
    logits = network.segment(both).movedim(1, -1)[(slice(None), *box)]
    sides = tensor_from_array(mirrored_channels(), torch.long, image.device)
    swap = functional.one_hot(sides).to(logits.dtype)
    return functional.linear(logits[1:].flip(3), swap / 2.0).add_(logits[:1], alpha=0.5).movedim(-1, 1)


def _pad_around(image: torch.Tensor, multiple: int) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """Continue the edges of an image to sizes that are multiples of a number; return it and the box of the image.

    The image stays in the middle: with all of the padding at the far ends the Dice with manual labels is 0.001 lower.
    """
    missing = [-size % multiple for size in image.shape[2:]]
    box = tuple(slice(part // 2, part // 2 + size) for part, size in zip(missing, image.shape[2:], strict=True))
    widths = [width for part in reversed(missing) for width in (part // 2, part - part // 2)]
    return (functional.pad(image, widths, mode="replicate") if any(widths) else image), box


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    # Along the last axis, as the channels lie in memory, the softmax takes a third of the time.
    return logits.movedim(1, -1).softmax(dim=-1).movedim(-1, 1)
