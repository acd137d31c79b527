"""The building blocks that the networks share."""

from __future__ import annotations

from torch import nn

# Slope of the activation for negative values.
LEAK = 0.1


def instance_norm(channels: int) -> nn.GroupNorm:
    """Instance normalisation: every image and channel by itself, so no image depends on its batch.

    As groups of one channel, because PyTorch's ``InstanceNorm3d`` leaves the channels-last layout, which on a CPU
    makes it some twenty times slower.
    """
    return nn.GroupNorm(channels, channels)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3x3 convolution, normalised, with a leaky ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        instance_norm(outputs),
        nn.LeakyReLU(LEAK, inplace=True),
    )


def zero_convolution(inputs: int, outputs: int, size: int = 3) -> nn.Conv3d:
    """A convolution that gives zeros until it has learned."""
    layer = nn.Conv3d(inputs, outputs, size, padding=size // 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
