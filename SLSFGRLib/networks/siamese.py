"""Features of one image by itself, at several resolutions, to be compared with another image's."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..fields import resize_image
from .blocks import convolution

# Keeps features that are all zero from being divided by nothing.
LEAST_LENGTH = 1e-2


class FeaturePyramid(nn.Module):
    """An encoder and a decoder in the shape of a U-Net, whose skips are added.

    Voxels of half the image's resolution are the finest: a first step of two voxels costs an eighth of a convolution
    at the whole resolution, and keeps more of the image than averaging it beforehand.

    :param channels: within, at 1/2, 1/4, 1/8 ... of the resolution.
    :param matching_channels: of the features that are given, at every resolution.
    """

    def __init__(self, channels: tuple[int, ...], matching_channels: int) -> None:
        super().__init__()
        # The sizes of the images must be multiples of this.
        self.size_multiple = 2 ** len(channels)
        self.encoders = nn.ModuleList(
            nn.Sequential(convolution(inputs, outputs, stride=2), convolution(outputs, outputs))
            for inputs, outputs in pairwise((1, *channels))
        )
        self.narrowings = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(channels))
        self.decoders = nn.ModuleList(convolution(count, count) for count in channels[:-1])
        self.projections = nn.ModuleList(nn.Conv3d(count, matching_channels, 1) for count in channels)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Describe each image by itself.

        :param image: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :returns: (B, matching_channels, ...) from coarse to fine, of length one in every voxel.
        """
        encoded: list[torch.Tensor] = []
        for encoder in self.encoders:
            encoded.append(_channels_last(encoder(encoded[-1] if encoded else image)))
        decoded = [encoded[-1]]
        for level in reversed(range(len(self.decoders))):
            upsampled = resize_image(self.narrowings[level](decoded[-1]), encoded[level].shape[2:])
            decoded.append(self.decoders[level](_channels_last(encoded[level] + upsampled)))
        coarse_to_fine = list(self.projections)[::-1]
        return [_unit(project(level)) for project, level in zip(coarse_to_fine, decoded, strict=True)]


def _unit(features: torch.Tensor) -> torch.Tensor:
    # In mixed precision squares would be cut.
    features = features.float()
    return features / (features.square().sum(dim=1, keepdim=True) + LEAST_LENGTH**2).sqrt()


def _channels_last(features: torch.Tensor) -> torch.Tensor:
    # A convolution of few channels, or of a small image, leaves this layout, in which the next are faster.
    return features.contiguous(memory_format=torch.channels_last_3d)
