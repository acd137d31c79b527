"""Run the segmentation network on a prepared image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..models.model import SegmentationNetworks
from ..preprocessing import BrainMask, PreparedImage
from ..spatial.arrays import array_from_tensor
from ..spatial.fields import downsample
from ..spatial.grid import Grid
from .attached_tissue import near_core
from .bias_field import fit_with_bias_field, without_bias_field
from .described_brain import DescribedBrain
from .intensity_model import IntensityModel
from .network_pass import NetworkPass
from .structures import StructureCentroids

# From the prepared image to the network: it works at 2 mm.
DOWNSAMPLING_FACTOR = 2
# Of background: with less, a voxel belongs to the brain.
MAX_BACKGROUND = 0.5


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
    both, has_others = _BothNetworks(networks, far, describe), networks.others is not networks.t1
    likely_t1 = likely_t1 or not has_others
    found = both.for_t1(coarse) if likely_t1 else both.for_others(coarse)
    model, bias_field = IntensityModel.fit(found.posteriors, coarse), None
    if model.has_t1_order and not likely_t1:
        # The guess was wrong: a coil near the surface brightens the outer part.
        return run_network(image, networks, describe)
    if not model.is_t1_like:
        if has_others and likely_t1:
            found = replace(both.for_others(coarse), encoding=found.encoding)
        found, model, bias_field = both.average(found, image, coarse)
    near = None
    if image.near_brain is not None:
        near = near_core(found.posteriors, grid)
        found = found.without_structures(near < 1.0)
    structures = StructureCentroids.from_posteriors(found.posteriors[0, 1:], grid)
    described = found.described(networks.t1, grid) if describe else None
    return Segmentation(found.logits, found.posteriors, grid, model, structures, near, described, bias_field)


@dataclass(frozen=True)
class _BothNetworks:
    """The networks for T1 and for other contrasts, and what applies to each of their passes.

    :param far: as for :meth:`NetworkPass.of`.
    :param describe: keep the features of the network for T1.
    """

    networks: SegmentationNetworks
    far: torch.Tensor | None
    describe: bool

    def for_t1(self, shown: torch.Tensor) -> NetworkPass:
        """Segment by the network for T1."""
        return NetworkPass.of(shown, self.networks.t1, self.far, self.describe)

    def for_others(self, shown: torch.Tensor) -> NetworkPass:
        """Segment by the network for other contrasts."""
        return NetworkPass.of(shown, self.networks.others, self.far)

    def average(
        self, found: NetworkPass, image: PreparedImage, coarse: torch.Tensor
    ) -> tuple[NetworkPass, IntensityModel, torch.Tensor]:
        """Average a pass with that of the network for T1 on the image without its bias field, mapped to T1 intensities.

        :param found: by the network for other contrasts.
        :param coarse: the image at 2 mm.
        :returns: the mean, and the intensities and the bias field that it gives.
        """
        spacing = DOWNSAMPLING_FACTOR * image.grid.mean_spacing
        model, bias_field = fit_with_bias_field(found.posteriors, coarse, spacing)
        if model.can_map_to_t1:
            mapped = model.map_to_t1(without_bias_field(image.tensor, bias_field))
            found = self.for_t1(downsample(mapped, DOWNSAMPLING_FACTOR)).averaged_with(found)
            model, bias_field = fit_with_bias_field(found.posteriors, coarse, spacing)
        elif self.describe and found.encoding is None:
            found = replace(found, encoding=self.for_t1(coarse).encoding)
        return found, model, bias_field
