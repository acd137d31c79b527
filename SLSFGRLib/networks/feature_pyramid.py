"""Features of one image at several resolutions, for comparison with those of another image."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..losses.mind import EDGES, descriptor
from ..spatial.fields import downsample, resize_image
from .blocks import convolution

# Avoids a division by zero for features that are all zero.
MIN_LENGTH = 1e-2
# Self-similarity that varies less than this is noise, and gets a smaller length.
MIN_CONTRAST = 0.1


class FeaturePyramid(nn.Module):
    """An encoder and a decoder in the shape of a U-Net, with additive skip connections.

    The finest features have half the image's resolution: a first convolution with stride 2 costs an eighth of one at
    full resolution, and keeps more of the image than downsampling it first. A further input at that resolution is the
    image's self-similarity, which depends little on the contrast.

    :param channels: of the encoder at 1/2, 1/4, 1/8 ... of the resolution.
    :param matching_channels: of the features that are returned, at every resolution.
    """

    def __init__(self, channels: tuple[int, ...], matching_channels: int) -> None:
        super().__init__()
        # Image sizes must be multiples of this.
        self.size_multiple = 2 ** len(channels)
        self.downs = nn.ModuleList(convolution(one, other, stride=2) for one, other in pairwise((1, *channels)))
        extras = (len(EDGES), *[0] * len(channels))
        self.encoders = nn.ModuleList(
            convolution(count + extra, count) for count, extra in zip(channels, extras, strict=False)
        )
        self.narrowings = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(channels))
        self.decoders = nn.ModuleList(convolution(count, count) for count in channels[:-1])
        self.projections = nn.ModuleList(nn.Conv3d(count, matching_channels, 1) for count in channels)

    def forward(self, image: torch.Tensor, similarity: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of each image.

        :param image: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param similarity: (B, 12, D / 2, H / 2, W / 2), the finest of :func:`self_similarity`.
        :returns: (B, matching_channels, ...) from coarse to fine, of length one in every voxel.
        """
        encoded: list[torch.Tensor] = []
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            seen = down(encoded[-1]) if encoded else torch.cat([down(image), similarity], dim=1)
            encoded.append(_channels_last(encoder(_channels_last(seen))))
        decoded = [encoded[-1]]
        for level in reversed(range(len(self.decoders))):
            upsampled = resize_image(self.narrowings[level](decoded[-1]), encoded[level].shape[2:])
            decoded.append(self.decoders[level](_channels_last(encoded[level] + upsampled)))
        coarse_to_fine = list(self.projections)[::-1]
        return [_unit(project(level), MIN_LENGTH) for project, level in zip(coarse_to_fine, decoded, strict=True)]


@torch.no_grad()
def self_similarity(image: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """Return the self-similarity of images (MIND-SSC, Heinrich et al. 2013) as features to compare.

    :param image: (B, 1, D, H, W), sizes multiples of ``2 ** levels``.
    :returns: (B, 12, ...) from coarse to fine, the finest at half the image's resolution; of length one or less.
    """
    described = descriptor(image.float())
    resolutions = [downsample(described, 2 ** (level + 1)) for level in reversed(range(levels))]
    return [_unit(level - level.mean(dim=1, keepdim=True), MIN_CONTRAST) for level in resolutions]


def _unit(features: torch.Tensor, minimum: float) -> torch.Tensor:
    """Scale features to length one, or less if their length is not well above a minimum."""
    # In mixed precision squares lose too many digits.
    features = features.float()
    return features / (features.square().sum(dim=1, keepdim=True) + minimum**2).sqrt()


def _channels_last(features: torch.Tensor) -> torch.Tensor:
    # Convolutions of few channels or small images leave this layout, in which the next ones are faster.
    return features.contiguous(memory_format=torch.channels_last_3d)
