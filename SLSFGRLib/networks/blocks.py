"""Building blocks of the networks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

# Slope of the activation for negative values.
LEAK = 0.1
# Standard deviation, in voxels, of the Gaussian that smooths a velocity before it is integrated: integration needs
# velocities that are smooth on their grid.
VELOCITY_BLUR = 1.0
# Squarings of a velocity at half of the image's resolution or coarser.
INTEGRATION_STEPS = 5
# Beside the single channel of an image.
ZERO_CHANNELS = 3


def instance_norm(channels: int) -> nn.GroupNorm:
    """Return instance normalisation: of each image and channel alone, so that no image depends on its batch.

    It is a ``GroupNorm`` with groups of one channel: PyTorch's ``InstanceNorm3d`` leaves the channels-last layout,
    which takes twenty times as long on a CPU (docs/develop/experiments.md).
    """
    return nn.GroupNorm(channels, channels)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3x3 convolution with instance normalisation and a leaky ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        instance_norm(outputs),
        nn.LeakyReLU(LEAK, inplace=True),
    )


class ImageConvolution(nn.Conv3d):
    """A 3x3x3 convolution of images with a single channel.

    Zeros as further channels keep the channels-last layout: on a CPU it then takes half the time
    (docs/develop/experiments.md).
    """

    def __init__(self, outputs: int) -> None:
        super().__init__(1, outputs, 3, padding=1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Convolve (B, 1, D, H, W) images to (B, outputs, D, H, W)."""
        image = functional.pad(image.movedim(1, -1), (0, ZERO_CHANNELS)).movedim(-1, 1)
        weight = functional.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, ZERO_CHANNELS))
        return functional.conv3d(image, weight.contiguous(memory_format=torch.channels_last_3d), padding=1)


def image_convolution(outputs: int) -> nn.Sequential:
    """Return a 3x3x3 convolution of images with a single channel, normalised, with a leaky ReLU."""
    return nn.Sequential(ImageConvolution(outputs), instance_norm(outputs), nn.LeakyReLU(LEAK, inplace=True))


class MergingConvolution(nn.Sequential):
    """A 3x3x3 convolution of two feature maps side by side, normalised, with a leaky ReLU.

    Each map is convolved with its part of the weights: on a CPU that takes less time than to copy both into one.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*convolution(inputs, outputs))

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Merge two feature maps whose numbers of channels add up to ``inputs``."""
        layer, *rest = self
        parts = layer.weight.split([first.shape[1], second.shape[1]], dim=1)
        merged = functional.conv3d(first, parts[0], padding=1).add_(functional.conv3d(second, parts[1], padding=1))
        for function in rest:
            merged = function(merged)
        return merged


def zero_convolution(inputs: int, outputs: int) -> nn.Conv3d:
    """Return a 3x3x3 convolution whose weights and biases start at zero."""
    layer = nn.Conv3d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
