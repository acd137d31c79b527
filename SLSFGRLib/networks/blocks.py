"""Building blocks of the networks."""

from __future__ import annotations

from torch import nn

# Slope of the activation for negative values.
LEAK = 0.1
# Standard deviation, in voxels, of the Gaussian that smooths a velocity before it is integrated: integration needs
# velocities that are smooth on their grid.
VELOCITY_BLUR = 1.0
# Squarings of a velocity at half of the image's resolution or coarser.
INTEGRATION_STEPS = 5


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


def zero_convolution(inputs: int, outputs: int) -> nn.Conv3d:
    """Return a 3x3x3 convolution whose weights and biases start at zero."""
    layer = nn.Conv3d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
