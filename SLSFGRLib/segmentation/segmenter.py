"""Run the segmentation network on a prepared image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn import functional

from ..io.label_table import mirrored_channels
from ..models.model import SegmentationNetworks
from ..networks import SLSFGRNetwork
from ..networks.explicit_refinement import appearance
from ..networks.sl_sfgr import Description, Encoding
from ..preprocessing import BrainMask, PreparedImage
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import downsample
from ..spatial.grid import Grid
from .attached_tissue import near_core
from .bias_field import fit_with_bias_field, without_bias_field
from .intensity_model import IntensityModel
from .structures import StructureCentroids

# From the prepared image to the network: it works at 2 mm.
DOWNSAMPLING_FACTOR = 2
# Of background: with less, a voxel belongs to the brain.
MAX_BACKGROUND = 0.5
# Subtracted from a logit to exclude a structure; others differ by less.
IMPOSSIBLE = 50.0

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Segmentation:
    """The network's segmentation of one brain, and what follows from it.

    :param logits: (1, 1 + structures, d, h, w), at 2 mm.
    :param posteriors: their softmax.
    :param grid: of the logits.
    :param intensity_model: the intensity of each structure in this image, without its bias field.
    :param structures: volumes and centroids.
    :param near_core: (1, 1, d, h, w), 1 in and near the brain's core, 0 where no structure is found; None if the image
        shows nothing but the brain.
    :param described: what the network registers by; None if it was not asked for.
    :param bias_field: (1, 1, d, h, w), the factor by which the signal varies; None for a T1 image, where it was not
        estimated.
    """

    logits: torch.Tensor
    posteriors: torch.Tensor
    grid: Grid
    intensity_model: IntensityModel
    structures: StructureCentroids
    near_core: torch.Tensor | None = None
    described: DescribedBrain | None = None
    bias_field: torch.Tensor | None = None

    @property
    def brain(self) -> BrainMask:
        """Where a structure, or the CSF around them, is more probable than background."""
        return BrainMask(array_from_tensor(self.posteriors[0, 0] < MAX_BACKGROUND), self.grid)


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
    box: Box

    def appearance(self, maps: torch.Tensor, tissues: torch.Tensor) -> torch.Tensor:
        """Return what explicit steps compare, of the image's shape; see :func:`.explicit_refinement.appearance`.

        :param maps: in the segmentation's voxels, (1, tissues, d, h, w).
        :param tissues: likewise.
        """
        placed = self.shown.new_zeros(1, maps.shape[1] + tissues.shape[1], *self.shown.shape[2:])
        placed[(..., *self.box)] = torch.cat([maps, tissues], dim=1)
        return appearance(self.shown, *placed.split([maps.shape[1], tissues.shape[1]], dim=1))


def run_network(
    image: PreparedImage, networks: SegmentationNetworks, describe: bool = False, likely_t1: bool = True
) -> Segmentation:
    """Segment a prepared image.

    The logits are the mean of those of the image and of its mirror image, which is more accurate than either. For an
    image in another contrast than T1 they are also the mean of two networks' (docs/develop/experiments.md): of that for
    such contrasts, and of that for T1 on the image without its bias field, mapped to T1 intensities.

    :param describe: keep what the network for T1 registers by.
    :param likely_t1: the guess of :func:`.contrast.is_likely_t1`, which decides the network that is asked first.
    """
    grid = image.grid.coarsened(DOWNSAMPLING_FACTOR)
    coarse = downsample(image.tensor, DOWNSAMPLING_FACTOR)
    far = None if image.near_brain is None else downsample(image.near_brain, DOWNSAMPLING_FACTOR) < 0.5
    given = _GivenImage(coarse, networks, far, describe)
    model, bias_field = given.t1_model(likely_t1), None
    found = given.by_t1_network if model else given.by_others
    if model is None:
        model, bias_field = fit_with_bias_field(found.posteriors, coarse, grid.mean_spacing)
        if model.can_map_to_t1:
            mapped = model.map_to_t1(without_bias_field(image.tensor, bias_field))
            shown = downsample(mapped, DOWNSAMPLING_FACTOR)
            found = _Pass.of(shown, networks.t1, far, describe).averaged_with(found)
            model, bias_field = fit_with_bias_field(found.posteriors, coarse, grid.mean_spacing)
        elif describe:
            found = replace(found, encoding=given.by_t1_network.encoding)
    near = None
    if image.near_brain is not None:
        near = near_core(found.posteriors, grid)
        found = found.without_structures(near < 1.0)
    structures = StructureCentroids.from_posteriors(found.posteriors[0, 1:], grid)
    described = found.described(networks.t1, grid) if describe else None
    return Segmentation(found.logits, found.posteriors, grid, model, structures, near, described, bias_field)


@dataclass(frozen=True)
class _Pass:
    """One segmentation of an image: logits and their softmax.

    :param shown: the image that the network was shown.
    :param encoding: its features, if they are to be kept.
    """

    logits: torch.Tensor
    posteriors: torch.Tensor
    shown: torch.Tensor
    encoding: Encoding | None

    @classmethod
    def of(cls, shown: torch.Tensor, network: SLSFGRNetwork, far: torch.Tensor | None, keep: bool = False) -> _Pass:
        """Segment what is shown to the network.

        :param far: (1, 1, d, h, w), boolean, where no structure may be found; None for nowhere.
        :param keep: the features, too.
        """
        # Left and right lie along the last axis.
        both, box = _pad_around(torch.cat([shown, shown.flip(4)]), network.size_multiple)
        encoding = network.encode(both) if keep else None
        logits = _mean_with_mirror_image(encoding.logits if keep else network.segment(both), box)
        logits = logits if far is None else _without_structures(logits, far)
        return cls(logits, _softmax(logits), shown, encoding.features_of(0) if keep else None)

    def averaged_with(self, other: _Pass) -> _Pass:
        """Return the same with the mean of both passes' logits."""
        logits = (self.logits + other.logits) / 2.0
        return replace(self, logits=logits, posteriors=_softmax(logits))

    def without_structures(self, where: torch.Tensor) -> _Pass:
        """Return the same with background alone in some voxels.

        :param where: (1, 1, d, h, w), boolean.
        """
        logits = _without_structures(self.logits, where)
        return replace(self, logits=logits, posteriors=_softmax(logits))

    def described(self, network: SLSFGRNetwork, grid: Grid) -> DescribedBrain:
        """Return what the network registers by.

        :param grid: of the segmentation.
        """
        shown, box = _pad_around(self.shown, network.size_multiple)
        padded = grid.cropped([-part.start for part in box], shown.shape[2:])
        return DescribedBrain(network.adapt(self.encoding), shown, padded, box)


@dataclass(frozen=True)
class _GivenImage:
    """The image as it was given, and what each network makes of it, as far as that is asked for.

    :param coarse: (1, 1, d, h, w), at 2 mm.
    :param far: as for :meth:`_Pass.of`.
    :param describe: keep the features of the network for T1.
    """

    coarse: torch.Tensor
    networks: SegmentationNetworks
    far: torch.Tensor | None
    describe: bool

    @cached_property
    def by_t1_network(self) -> _Pass:
        """The segmentation by the network for T1."""
        return _Pass.of(self.coarse, self.networks.t1, self.far, self.describe)

    @cached_property
    def by_others(self) -> _Pass:
        """The segmentation by the network for other contrasts."""
        if self.networks.others is self.networks.t1:
            return self.by_t1_network
        return _Pass.of(self.coarse, self.networks.others, self.far)

    def t1_model(self, likely_t1: bool) -> IntensityModel | None:
        """Return the intensities of the structures if the image has T1 contrast, else None.

        :param likely_t1: if not, the network for T1 is asked only if the other one finds T1 contrast.
        """
        if not likely_t1 and not IntensityModel.fit(self.by_others.posteriors, self.coarse).is_t1_like:
            return None
        model = IntensityModel.fit(self.by_t1_network.posteriors, self.coarse)
        return model if model.is_t1_like else None


def _without_structures(logits: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return logits that exclude all structures in some voxels.

    :param where: (1, 1, d, h, w), boolean.
    """
    is_structure = (torch.arange(logits.shape[1], device=logits.device) > 0).view(1, -1, 1, 1, 1)
    return torch.addcmul(logits, where.to(logits.dtype), is_structure.to(logits.dtype), value=-IMPOSSIBLE)


def _mean_with_mirror_image(logits: torch.Tensor, box: Box) -> torch.Tensor:
    """Return the mean of the logits of an image and of its mirror image, (1, 1 + structures, d, h, w).

    :param logits: of both, padded.
    :param box: of the image in its padding.
    """
    # Channels last, as they lie in memory; a product with a permutation is faster than an index along the last axis.
    logits = logits.movedim(1, -1)[(slice(None), *box)]
    sides = tensor_from_array(mirrored_channels(), torch.long, logits.device)
    swap = functional.one_hot(sides).to(logits.dtype)
    return functional.linear(logits[1:].flip(3), swap / 2.0).add_(logits[:1], alpha=0.5).movedim(-1, 1)


def _pad_around(image: torch.Tensor, multiple: int) -> tuple[torch.Tensor, Box]:
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
