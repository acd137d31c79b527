"""The fully convolutional network of Li & Fan (2018) for self-supervised registration.

H. Li, Y. Fan: Non-rigid image registration using self-supervised fully convolutional networks without training data.
ISBI 2018. Two poolings lead to a quarter of the resolution, two transposed convolutions back; at each of the three
resolutions a head regresses a field.

Departures: instance instead of batch normalisation, which differs between training and inference for one pair; heads
that start at zero, so that the first field is the identity; and, on request, the forces of a classical registration as
further inputs. A convolution sees what an image shows, but has to learn from images alone where that must move.
"""

from __future__ import annotations

import torch
from torch import nn

from ..losses.lncc import NOISE_FORCE, LocalCorrelationGradient
from ..spatial.fields import central_differences, downsample, integrate, smooth, vector_norms
from .blocks import INTEGRATION_STEPS, VELOCITY_BLUR, instance_norm, zero_convolution

# Of the images, and of the forces.
IMAGES, AXES = 2, 3
# Standard deviation of the Gaussian that smooths the forces, in voxels: as that of a step of direct optimisation.
FORCE_SIGMA = 1.0
# The forces are this much longer before the heads, so that few steps of Adam suffice to use them. Of 5 and 20, 5 gave
# the better result on one pair of brains (docs/develop/experiments.md).
FORCE_GAIN = 5.0


class LiFanNetwork(nn.Module):
    """A fully convolutional network with a displacement field at 1/4, 1/2 and 1 of the resolution.

    :param channels: of the convolutions at 1, 1/2 and 1/4 of the resolution.
    :param diffeomorphic: integrate the heads' output as stationary velocities.
    :param forces: give the network and each head the direction in which LNCC grows, beside the images. The field of one
        pass is then at most some voxels long; apply the network again to what it has warped (`pyramid` of a model).
    """

    segmenter = None  # it does not segment

    # Image sizes must be multiples of this.
    size_multiple = 4

    def __init__(
        self, channels: tuple[int, int, int] = (32, 64, 128), diffeomorphic: bool = False, forces: bool = False
    ) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.diffeomorphic, self.forces = diffeomorphic, forces
        more = AXES if forces else 0
        self.encode_fine = _convolution(IMAGES + more, fine)
        self.encode_middle = _convolution(fine, middle)
        self.encode_coarse = _convolution(middle, coarse)
        self.up_middle = _upsampling(coarse, middle)
        self.decode_middle = _convolution(middle, middle)
        self.up_fine = _upsampling(middle, fine)
        self.heads = nn.ModuleList(zero_convolution(count + more, AXES) for count in (coarse, middle, fine))
        self.pool = nn.MaxPool3d(2)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Regress the fields.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: (B, 3, ...) fields at 1/4, 1/2 and 1 of the resolution, each in its own voxels.
        """
        inputs = [fixed, moving, forces(moving, fixed)] if self.forces else [fixed, moving]
        fine = self.encode_fine(torch.cat(inputs, dim=1))
        coarse = self.encode_coarse(self.pool(self.encode_middle(self.pool(fine))))
        middle = self.decode_middle(self.up_middle(coarse))
        features = [coarse, middle, self.up_fine(middle)]
        if self.forces:
            pairs = zip(features, (4, 2, 1), strict=True)
            features = [torch.cat([part, FORCE_GAIN * downsample(inputs[-1], factor)], dim=1) for part, factor in pairs]
        fields = [head(part) for head, part in zip(self.heads, features, strict=True)]
        if not self.diffeomorphic:
            return fields
        # The field of forces is short, and takes fewer squarings.
        steps = {"steps": INTEGRATION_STEPS} if self.forces else {}
        return [integrate(smooth(field, VELOCITY_BLUR), **steps) for field in fields]


@torch.no_grad()
def forces(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """Return the direction in which LNCC grows fastest when a voxel moves, at most 1 long.

    :param moving: (B, 1, D, H, W).
    :param fixed: likewise.
    :returns: (B, 3, D, H, W); near 0 where motion gains nothing.
    """
    gradient = smooth(central_differences(moving)[:, 0] * LocalCorrelationGradient(fixed)(moving), FORCE_SIGMA)
    return -gradient / (vector_norms(gradient)[:, None] + NOISE_FORCE)


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
