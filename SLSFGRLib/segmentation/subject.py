"""One brain: its image, the one preparation, its segmentation and its tissue probability maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import SimpleITK as sitk
import torch

from ..models.model import SegmentationNetworks
from ..networks import BrainExtractionNetwork
from ..networks.explicit_refinement import sums_by_tissue
from ..preprocessing import BrainMask, PreparedImage, prepare, prepare_whole
from ..spatial.arrays import array_from_tensor
from ..spatial.fields import downsample, resize_image
from ..spatial.grid import Grid, image_from_array
from . import brain_extraction
from .bias_field import without_bias_field
from .contrast import is_likely_t1
from .intensity_model import deep_channels
from .segmenter import Segmentation, run_network
from .template_brain import near_template
from .tissue_maps import tissue_maps

# How often the brain is corrected: of a head turned by 27 degrees the first left 9 % outside, the second 4 %.
MOST_CORRECTIONS = 3


@dataclass(frozen=True)
class Subject:
    """One brain; all stages of a registration take it as it is.

    :param image: as it was given.
    :param prepared: cropped to the head, at about 1 mm, scaled from 0 to 1, on the device to work on.
    :param segmentation: by the bundled or a given network; None if there is no network.
    :param is_corrected: whether the brain was corrected by the population template.
    :param compared: (1, 1, D, H, W), 0 in voxels that a registration must not compare, 1 in others; None for all 1.
    :param lesion: (1, 1, D, H, W), the fraction of each voxel that a lesion fills, in the mask if there is one; None
        for no lesion.
    :param brain: where the brain lies; None if it was not looked for, or not found.
    """

    image: sitk.Image
    prepared: PreparedImage
    segmentation: Segmentation | None = None
    brain: BrainMask | None = None
    is_corrected: bool = False
    compared: torch.Tensor | None = None
    lesion: torch.Tensor | None = None

    @classmethod
    def from_image(
        cls,
        image: sitk.Image,
        name: str = "the image",
        device: torch.device | str = "cpu",
        brain_network: BrainExtractionNetwork | None = None,
    ) -> Subject:
        """Prepare an image; with a network that finds the brain, what is far from the brain fades out.

        :param name: what to call the image in an error.
        :param brain_network: on the device.
        :raises InputError: the image cannot be used.
        """
        device = torch.device(device)
        if brain_network is None:
            return cls(image, prepare(image, name).to(device))
        whole = prepare_whole(image, brain_extraction.SPACING, name)
        brain = brain_extraction.find_brain(whole.to(device), brain_network)
        around = brain if brain is not None and brain.has_skull else None
        return cls(image, prepare(image, name, brain=around).to(device), brain=brain)

    @torch.no_grad()
    def segmented(self, networks: SegmentationNetworks, describe: bool = False) -> Subject:
        """Return the same subject with its segmentation.

        If much of what was taken for the brain lies outside that of the population template, such as the neck of a
        turned head, it is left out, and the rest is segmented again.

        :param networks: from :meth:`SLSFGRLib.models.model.Model.segmenter`, on the subject's device.
        :param describe: keep what the network registers by, for :func:`SLSFGRLib.registration.network.network_field`.
        """
        likely_t1 = self.brain is None or is_likely_t1(self.prepared.averaged(2), self.brain)
        subject = replace(self, segmentation=run_network(self.prepared, networks, describe, likely_t1))
        for _ in range(MOST_CORRECTIONS):
            brain = subject._brain_near_template()
            if brain is None:
                break
            prepared = subject.prepared.confined_to(brain)
            segmentation = run_network(prepared, networks, describe, likely_t1)
            subject = replace(subject, prepared=prepared, brain=brain, segmentation=segmentation, is_corrected=True)
        return subject

    def _brain_near_template(self) -> BrainMask | None:
        """Return the brain without what is far from the template's; None if the found one is right, or not known."""
        if self.brain is None or self.prepared.near_brain is None:
            return None
        return near_template(self.brain, self.segmentation.structures)

    @property
    def grid(self) -> Grid:
        """The grid of the prepared image."""
        return self.prepared.grid

    @cached_property
    def averaged(self) -> Subject:
        """The same subject with the averages of 2 x 2 x 2 voxels; its segmentation stays."""
        compared, lesion = (mask if mask is None else downsample(mask, 2) for mask in (self.compared, self.lesion))
        return replace(self, prepared=self.prepared.averaged(2), compared=compared, lesion=lesion)

    @cached_property
    def brain_alone(self) -> PreparedImage:
        """The prepared image without what surrounds the brain: of a head about that of its skull-stripped copy."""
        if self.brain is None or self.prepared.near_brain is None:
            return self.prepared
        return self.prepared.fading_from(self.segmentation.brain if self.segmentation else self.brain)

    @cached_property
    def corrected(self) -> torch.Tensor:
        """The prepared image without its bias field, as far as that was estimated."""
        bias_field = self.segmentation and self.segmentation.bias_field
        return self.prepared.tensor if bias_field is None else without_bias_field(self.prepared.tensor, bias_field)

    @cached_property
    def coarse_labels(self) -> sitk.Image:
        """The most probable channel in each voxel of the segmentation network's grid, at 2 mm."""
        channels = array_from_tensor(self.segmentation.logits.argmax(dim=1)[0].to(torch.uint8))
        return image_from_array(channels, self.segmentation.grid)

    @cached_property
    def tissues(self) -> torch.Tensor | None:
        """The maps of :data:`SLSFGRLib.segmentation.tissue_maps.MAPS`, (1, 4, D, H, W); None without a segmentation."""
        if self.segmentation is None:
            return None
        posteriors = self.segmentation.posteriors
        is_deep = posteriors.new_zeros(posteriors.shape[1])
        is_deep[deep_channels()] = 1.0
        # A product with a vector reads the posteriors once, as they lie in memory.
        deep = resize_image((posteriors.movedim(1, -1) @ is_deep)[:, None], self.grid.shape)
        model, spacing = self.segmentation.intensity_model, self.grid.mean_spacing
        prior = None if model.is_grey_between else sums_by_tissue(posteriors)
        maps = tissue_maps(self.corrected, model, deep, spacing, prior)
        if self.prepared.near_brain is None:
            return maps
        return maps * self.prepared.near_brain * resize_image(self.segmentation.near_core, self.grid.shape)


def are_segmented(*subjects: Subject) -> bool:
    """Return whether all subjects have a segmentation."""
    return all(subject.segmentation is not None for subject in subjects)
