"""SL-SFGR: registration guided by semi-supervised segmentation, with spatial-frequency enhancement.

Built after the abstract of the paper (its public code lacks most of it). A siamese encoder processes each image alone.
A segmentation branch decodes its features into structures, and the branch's features guide those that the registration
compares, at every resolution. From coarse to fine, the cost volume of the two images' features is turned into
velocities, whose flows are composed: the field is diffeomorphic, and zero at the start. Explicit steps may follow at
the two finest resolutions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from ..io.label_table import read_label_table
from ..spatial.fields import compose, downsample, integrate, resize_field, smooth, warp
from .band_limit import BandLimit
from .blocks import (
    INTEGRATION_STEPS,
    VELOCITY_BLUR,
    convolution,
    instance_norm,
    zero_convolution,
)
from .cost_volume import SHIFTS, local_matches
from .dual_domain import DualDomainBlock
from .explicit_refinement import ExplicitRefinement, appearance, tissues_of
from .pair_gains import PairGate
from .unet import Encoder, SegmentationDecoder

# A voxel of the coarsest level is 16 mm: without this factor the first training steps would be far too large.
VELOCITY_SCALE = 0.1
# Number of refinements of the field at each resolution, coarse to fine.
PASSES = (1, 2, 1)


@dataclass(frozen=True)
class Encoding:
    """What the encoder and the segmentation branch make of images.

    :param encoded: the encoder's features, (B, C, ...) at 1/8, 1/4 and 1/2 of the resolution.
    :param guides: those of the segmentation branch, likewise; None without one.
    :param logits: as in :class:`Description`.
    """

    encoded: list[torch.Tensor]
    guides: list[torch.Tensor | None]
    logits: torch.Tensor | None

    def features_of(self, image: int) -> Encoding:
        """Return the features of one image of the batch, without its logits."""
        encoded, guides = (
            [None if part is None else part[image : image + 1] for part in parts]
            for parts in (self.encoded, self.guides)
        )
        return Encoding(encoded, guides, None)


@dataclass(frozen=True)
class Description:
    """The features and the segmentation of images.

    :param features: for the registration, (B, C, ...) at 1/8, 1/4 and 1/2 of the resolution.
    :param logits: of background and structures, (B, 1 + structures, D, H, W); None without a segmentation branch.
    :param appearance: what explicit steps compare, (B, 7, D, H, W); None without them.
    """

    features: list[torch.Tensor]
    logits: torch.Tensor | None
    appearance: torch.Tensor | None = None

    def of(self, images: list[int]) -> Description:
        """Return the description of some images of the batch, in this order."""
        logits, appearance = (None if part is None else part[images] for part in (self.logits, self.appearance))
        return Description([features[images] for features in self.features], logits, appearance)


class SLSFGRNetwork(nn.Module):
    """A network that segments two images and registers them.

    :param structures: number of rows of the label table.
    :param channels: of the encoder at 1, 1/2, 1/4 and 1/8 of the resolution.
    :param matching_channels: of the features that are compared between the images.
    :param segmentation: include a segmentation branch.
    :param guidance: guide the registration's features by those of the segmentation branch.
    :param frequency: enhance the registration's features in the spatial and the frequency domain.
    :param pair_gains: scale the features of both images in bands of frequency by gains that both of them decide.
    :param band_limit: limit velocities to learned bands of frequency, instead of smoothing them by a Gaussian.
    :param explicit_steps: at 1/2 and at the full resolution, see :mod:`.explicit_refinement`; they need the
        segmentation of the label table's structures.
    :raises ValueError: it has another number of structures.
    """

    # Image sizes must be multiples of this; the downsampling factor of the finest field that is regressed.
    size_multiple = 8
    field_factor = 2

    def __init__(
        self,
        structures: int,
        channels: tuple[int, int, int, int] = (16, 32, 64, 64),
        matching_channels: int = 32,
        segmentation: bool = True,
        guidance: bool = True,
        frequency: bool = True,
        pair_gains: bool = False,
        band_limit: bool = False,
        explicit_steps: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        if any(explicit_steps) and not (segmentation and structures == len(read_label_table())):
            raise ValueError(f"explicit_steps need the segmentation of {len(read_label_table())} structures.")
        self.structures = structures
        self.encoder = Encoder(channels)
        self.segmenter = SegmentationDecoder(channels, structures + 1) if segmentation else None
        coarse_to_fine = channels[:0:-1]
        self.adapters = nn.ModuleList(
            FeatureAdapter(count, matching_channels, guidance and segmentation, frequency) for count in coarse_to_fine
        )
        self.refinements = nn.ModuleList(
            FieldRefinement(matching_channels, pair_gains, band_limit) for _ in coarse_to_fine
        )
        counts = explicit_steps if any(explicit_steps) else ()
        self.explicit = nn.ModuleList(ExplicitRefinement(count) for count in counts)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: (B, 3, ...) fields at 1/8, 1/4 and 1/2 of the resolution, each in its own voxels; with explicit steps
            also at the full resolution.
        :raises ValueError: the sizes are no such multiples.
        """
        return self.match(self.describe(moving), self.describe(fixed))

    def describe(self, image: torch.Tensor) -> Description:
        """Return features and segmentation of (B, 1, D, H, W) images, each processed alone."""
        encoding = self.encode(image)
        description = self.adapt(encoding)
        if not len(self.explicit):
            return description
        # In training the network's tissues stand for maps whose borders follow the intensities, too.
        tissues = tissues_of(encoding.logits)
        return replace(description, appearance=appearance(image, tissues, tissues))

    def encode(self, image: torch.Tensor) -> Encoding:
        """Encode and segment (B, 1, D, H, W) images, without computing features for registration."""
        # With other sizes the coarse features would cover less than the image, and the fields would be shifted.
        sizes = tuple(image.shape[2:])
        if any(size % self.size_multiple for size in sizes):
            raise ValueError(f"the sizes of an image, {sizes}, must be multiples of {self.size_multiple}.")
        encoded = self.encoder(image)
        guides, logits = ([None] * 3, None) if self.segmenter is None else self.segmenter(encoded)
        return Encoding(encoded[:0:-1], guides, logits)

    def adapt(self, encoding: Encoding) -> Description:
        """Compute the features that the registration compares, without what explicit steps compare."""
        parts = zip(self.adapters, encoding.encoded, encoding.guides, strict=True)
        return Description([adapter(own, guide) for adapter, own, guide in parts], encoding.logits)

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of (B, 1, D, H, W) images, (B, 1 + structures, D, H, W)."""
        return self.encode(image).logits

    def match(self, moving: Description, fixed: Description, to_full_resolution: bool = True) -> list[torch.Tensor]:
        """Return the fields that register two described images, from coarse to fine.

        :param to_full_resolution: take the explicit steps at the full resolution, too.
        """
        coarsest = fixed.features[0]
        field = torch.zeros((len(coarsest), 3, *coarsest.shape[2:]), device=coarsest.device)
        fields = []
        for refinement, passes, of_moving, of_fixed in zip(
            self.refinements, PASSES, moving.features, fixed.features, strict=True
        ):
            field = resize_field(field, of_fixed.shape[2:])
            for _ in range(passes):
                field = compose(field, integrate(refinement(warp(of_moving, field), of_fixed), INTEGRATION_STEPS))
            fields.append(field)
        factors = (2, 1) if to_full_resolution else (2,)
        refined = self._refined(field, moving.appearance, fixed.appearance, factors)
        return fields[:-1] + refined if refined else fields

    def _refined(
        self, field: torch.Tensor, moving: torch.Tensor, fixed: torch.Tensor, factors: tuple[int, ...]
    ) -> list[torch.Tensor]:
        """Return a field at each resolution, as downsampling factors, after explicit steps there."""
        fields = []
        for refinement, factor in zip(self.explicit, factors, strict=False):
            images = [downsample(image, factor) for image in (moving, fixed)]
            field = refinement(resize_field(field, images[1].shape[2:]), *images)
            fields.append(field)
        return fields


class FeatureAdapter(nn.Module):
    """A map from an encoder's level to features to compare, guided by those of the segmentation branch.

    ``registration + strength sigmoid(gate(registration, segmentation)) value(segmentation)``, voxel by voxel; the
    strength of each channel starts at zero.
    """

    def __init__(self, inputs: int, channels: int, guidance: bool, frequency: bool) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv3d(inputs, channels, 1, bias=False), instance_norm(channels))
        self.gate = nn.Conv3d(channels + inputs, channels, 1) if guidance else None
        self.value = nn.Conv3d(inputs, channels, 1) if guidance else None
        self.strength = nn.Parameter(torch.zeros(1, channels, 1, 1, 1)) if guidance else None
        self.enhance = DualDomainBlock(channels) if frequency else nn.Identity()

    def forward(self, own: torch.Tensor, guide: torch.Tensor | None) -> torch.Tensor:
        """Adapt (B, inputs, D, H, W) features, with a guide of the same shape, to (B, channels, D, H, W)."""
        features = self.project(own)
        if self.gate is not None:
            gate = torch.sigmoid(self.gate(torch.cat([features, guide], dim=1)))
            features = features + self.strength * gate * self.value(guide)
        return self.enhance(features)


class FieldRefinement(nn.Module):
    """A regression of a smooth velocity field, zero at the start, from the cost volume of two feature maps."""

    def __init__(self, channels: int, pair_gains: bool, band_limit: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(len(SHIFTS) + 2 * channels, channels, 1),
            convolution(channels, channels),
            convolution(channels, channels),
            zero_convolution(channels, 3),
        )
        self.gate = PairGate(channels) if pair_gains else None
        self.low_pass = BandLimit() if band_limit else partial(smooth, sigma=VELOCITY_BLUR)

    def forward(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return a (B, 3, D, H, W) velocity in voxels for (B, C, D, H, W) features."""
        if self.gate is not None:
            warped, fixed = self.gate(warped, fixed)
        velocity = self.layers(torch.cat([local_matches(warped, fixed), warped, fixed], dim=1))
        # A field in bfloat16 would not be smooth.
        return self.low_pass(VELOCITY_SCALE * velocity.float())
