"""An encoder and a decoder in the shape of a U-Net (Ronneberger et al. 2015), to segment images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..spatial.fields import resize_image
from .blocks import MergingConvolution, convolution, image_convolution


class Encoder(nn.Module):
    """An encoder with features at 1, 1/2, 1/4 ... of the resolution.

    :param channels: of the features, from fine to coarse.
    :param inputs: channels of the images.
    """

    def __init__(self, channels: tuple[int, ...], inputs: int = 1) -> None:
        super().__init__()
        # One convolution at full resolution: a second one costs as much as all the coarser ones.
        first = image_convolution(channels[0]) if inputs == 1 else convolution(inputs, channels[0])
        self.levels = nn.ModuleList([first])
        for inputs, outputs in pairwise(channels):
            self.levels.append(nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs)))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Encode (B, inputs, D, H, W); return features from fine to coarse."""
        encoded = []
        for level in self.levels:
            image = level(functional.max_pool3d(encoded[-1], 2) if encoded else image)
            # Convolutions of a single channel or small images leave this layout, in which the next ones are faster.
            image = image.contiguous(memory_format=torch.channels_last_3d)
            encoded.append(image)
        return encoded


class SegmentationDecoder(nn.Module):
    """A decoder from the encoder's features to structures, in the shape of a U-Net."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        coarse_to_fine = channels[::-1]
        steps = list(pairwise(coarse_to_fine))
        self.narrowing = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for coarse, fine in steps)
        self.merging = nn.ModuleList(MergingConvolution(2 * fine, fine) for _, fine in steps)
        self.logits = nn.Conv3d(channels[0], classes, 1)

    def forward(self, encoded: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Decode features that are given from fine to coarse.

        :returns: the decoder's features from coarse to 1/2 of the resolution, and the logits at full resolution.
        """
        decoded = [encoded[-1]]
        for narrowing, merging, skip in zip(self.narrowing, self.merging, encoded[-2::-1], strict=True):
            upsampled = resize_image(narrowing(decoded[-1]), skip.shape[2:])
            decoded.append(merging(upsampled, skip))
        return decoded[:-1], self.logits(decoded[-1])
