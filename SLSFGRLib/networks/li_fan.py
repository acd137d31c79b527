"""The fully convolutional network of Li & Fan (2018) for self-supervised registration.

H. Li, Y. Fan: Non-rigid image registration using self-supervised fully convolutional networks without training data.
ISBI 2018. Two poolings lead to a quarter of the resolution, two transposed convolutions back; at each of the three
resolutions a head regresses a field.

Two departures: instance instead of batch normalisation, which differs between training and inference for one pair;
and heads that start at zero, so that the first field is the identity.
"""

from __future__ import annotations

import torch
from torch import nn

from ..spatial.fields import integrate, smooth
from .blocks import VELOCITY_BLUR, instance_norm, zero_convolution


class LiFanNetwork(nn.Module):
    """A fully convolutional network with a displacement field at 1/4, 1/2 and 1 of the resolution.

    :param channels: of the convolutions at 1, 1/2 and 1/4 of the resolution.
    :param diffeomorphic: integrate the heads' output as stationary velocities.
    """

    segmenter = None  # it does not segment

    # Image sizes must be multiples of this.
    size_multiple = 4

    def __init__(self, channels: tuple[int, int, int] = (32, 64, 128), diffeomorphic: bool = False) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.diffeomorphic = diffeomorphic
        self.encode_fine = _convolution(2, fine)
        self.encode_middle = _convolution(fine, middle)
        self.encode_coarse = _convolution(middle, coarse)
        self.up_middle = _upsampling(coarse, middle)
        self.decode_middle = _convolution(middle, middle)
        self.up_fine = _upsampling(middle, fine)
        self.heads = nn.ModuleList(zero_convolution(count, 3) for count in (coarse, middle, fine))
        self.pool = nn.MaxPool3d(2)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Regress the fields.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: (B, 3, ...) fields at 1/4, 1/2 and 1 of the resolution, each in its own voxels.
        """
        images = torch.cat([fixed, moving], dim=1)
        coarse = self.encode_coarse(self.pool(self.encode_middle(self.pool(self.encode_fine(images)))))
        middle = self.decode_middle(self.up_middle(coarse))
        fine = self.up_fine(middle)
        fields = [head(features) for head, features in zip(self.heads, (coarse, middle, fine), strict=True)]
        return [integrate(smooth(field, VELOCITY_BLUR)) for field in fields] if self.diffeomorphic else fields


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        instance_norm(outputs),
        nn.ReLU(inplace=True),
    )


def _upsampling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose3d(inputs, outputs, 2, stride=2, bias=False),
        instance_norm(outputs),
        nn.ReLU(inplace=True),
    )
