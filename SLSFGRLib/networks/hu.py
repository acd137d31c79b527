"""The networks of Hu et al. (2018) for weakly supervised, multimodal registration.

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018. A global network finds an affine transformation, a local one a dense displacement as the
sum of what it sees at several resolutions, and their composition does first the one, then the other. Each is of
use alone. All are called with images only: labels enter nothing but the loss.

Departures, all for fields that do not fold and grids of any size:

- The sum over the resolutions is taken for a stationary velocity and integrated (Arsigny et al. 2006), the affine
  transformation for a matrix logarithm (Arsigny et al. 2009). Both are zero at the start, and diffeomorphisms.
- The global network pools over the whole image where the paper's has a fully connected layer for one size. A mean
  says nothing of where a feature lies; its first moments, which are pooled with it, do.
- The two transformations are composed; the public code adds them.
- Beside the two images, every resolution sees how well the self-similarity about each voxel (MIND-SSC, Heinrich et
  al. 2013) matches that of its neighbours in the other image: a few thousand examples teach what to make of such
  matches, not how to find them.
- Instance in place of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..fields import downsample, integrate, resize_field, smooth, voxel_grid, warp
from ..similarity.mind import descriptor
from .blocks import LEAK, convolution, instance_norm, zero_convolution
from .matching import SHIFTS, local_matches

# In voxels: integrating is safe only for velocities that are smooth on their grid.
VELOCITY_BLUR = 1.0
INTEGRATION_STEPS = 5
# Lengths are counted in so many voxels of the images, about the radius of a head at 4 mm, whatever the images' size.
RADIUS = 18.0
KERNEL_VOXELS = 27


class GlobalNetwork(nn.Module):
    """Finds the affine transformation, as a field.

    :param global_channels: of the features at 1/2, 1/4 ... of the resolution.
    """

    def __init__(self, global_channels: tuple[int, ...] = (16, 32)) -> None:
        super().__init__()
        # The sizes of the images must be multiples of this.
        self.size_multiple = 2 ** len(global_channels)
        counts = (2, *global_channels)
        self.layers = nn.Sequential(*(convolution(one, next_one, stride=2) for one, next_one in pairwise(counts)))
        self.logarithm = nn.Linear(4 * counts[-1], 12)
        nn.init.zeros_(self.logarithm.weight)
        nn.init.zeros_(self.logarithm.bias)
        # As in VelocityHead.
        self.gain = (4 * counts[-1]) ** -0.5

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Align.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: one (B, 3, D, H, W) field in voxels.
        """
        return [affine_field(self.matrix(moving, fixed), centred_positions(fixed.shape[2:], fixed.device))]

    def matrix(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """The transformation of places counted from the middle in units of ``RADIUS``: (B, 4, 4)."""
        features = self.layers(torch.cat([fixed, moving], dim=1)).float()
        logarithm = self.logarithm(_pooled_moments(features, self.size_multiple)).view(-1, 3, 4)
        return torch.matrix_exp(functional.pad(self.gain * logarithm, (0, 0, 0, 1)))


class LocalNetwork(nn.Module):
    """Finds a dense displacement, from a velocity that is summed over the resolutions.

    An encoder and a decoder of residual blocks, whose skips are added, as in the paper.

    :param channels: of the features at 1, 1/2, 1/4 ... of the resolution.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.size_multiple = 2 ** (len(channels) - 1)
        self.first = convolution(2, channels[0])
        self.matches = nn.ModuleList(nn.Conv3d(len(SHIFTS), count, 1) for count in channels)
        self.encoders = nn.ModuleList(ResidualBlock(count) for count in channels)
        self.downs = nn.ModuleList(convolution(fine, coarse, stride=2) for fine, coarse in pairwise(channels))
        self.ups = nn.ModuleList(AdditiveUpsampling(coarse, fine) for fine, coarse in pairwise(channels))
        self.decoders = nn.ModuleList(ResidualBlock(count) for count in channels[:-1])
        self.heads = nn.ModuleList(VelocityHead(count) for count in channels)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: one (B, 3, D, H, W) field in voxels.
        """
        return [integrate(self.velocity(moving, fixed), INTEGRATION_STEPS)]

    def velocity(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """The sum of what every resolution adds, (B, 3, D, H, W)."""
        levels = self._features(moving, fixed)
        shape = levels[0].shape[2:]
        parts = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        return smooth(sum(resize_field(part, shape) for part in parts), VELOCITY_BLUR)

    def _features(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Decoded features from fine to coarse."""
        encoded: list[torch.Tensor] = []
        for level, encoder in enumerate(self.encoders):
            seen = self.downs[level - 1](encoded[-1]) if level else self.first(torch.cat([fixed, moving], dim=1))
            matches = _self_similarity_matches(downsample(moving, 2**level), downsample(fixed, 2**level))
            encoded.append(encoder(_channels_last(seen + self.matches[level](matches))))
        decoded = [encoded[-1]]
        for level in reversed(range(len(self.ups))):
            decoded.append(self.decoders[level](self.ups[level](decoded[-1]) + encoded[level]))
        return decoded[::-1]


class CompositeNetwork(nn.Module):
    """The affine transformation first, then the dense displacement between what it has left.

    :param channels: as :class:`LocalNetwork`.
    :param global_channels: as :class:`GlobalNetwork`.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64), global_channels: tuple[int, ...] = (16, 32)) -> None:
        super().__init__()
        self.affine = GlobalNetwork(global_channels)
        self.local = LocalNetwork(channels)
        self.size_multiple = max(self.affine.size_multiple, self.local.size_multiple)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: the affine field, and its composition with the dense one, ``x -> affine(x + dense(x))``; both
            (B, 3, D, H, W) in voxels.
        """
        matrix = self.affine.matrix(moving, fixed)
        positions = centred_positions(fixed.shape[2:], fixed.device)
        affine = affine_field(matrix, positions)
        (dense,) = self.local(warp(moving, affine), fixed)
        # Written out where the voxel has gone, not interpolated: exact also beyond the border.
        return [affine, dense + affine_field(matrix, positions + dense)]


class ResidualBlock(nn.Module):
    """Two convolutions, added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, channels),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            instance_norm(channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) to the same shape."""
        return functional.leaky_relu(features + self.layers(features), LEAK)


class VelocityHead(nn.Module):
    """Turns features into a velocity, zero at the start.

    The more numbers a sum has, the more a step of the optimiser changes it; they are divided by the root of their
    number, so that the first steps are small at every resolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = zero_convolution(channels, 3)
        self.gain = (KERNEL_VOXELS * channels) ** -0.5

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) features to a (B, 3, D, H, W) velocity in their voxels."""
        # In mixed precision a field of half the digits would be rough.
        return self.gain * self.layer(features).float()


class AdditiveUpsampling(nn.Module):
    """To twice the resolution: a transposed convolution, plus interpolation with the channels summed in groups."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.groups = -(-inputs // outputs)
        self.missing = self.groups * outputs - inputs
        self.learned = nn.Sequential(
            nn.ConvTranspose3d(inputs, outputs, 2, stride=2, bias=False),
            instance_norm(outputs),
            nn.LeakyReLU(LEAK, inplace=True),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, inputs, D, H, W) to (B, outputs, 2 D, 2 H, 2 W)."""
        padded = functional.pad(features, (0, 0, 0, 0, 0, 0, 0, self.missing))
        summed = sum(padded.chunk(self.groups, dim=1)) / self.groups
        return self.learned(features) + functional.interpolate(summed, scale_factor=2, mode="trilinear")


def centred_positions(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Where the voxels of a grid lie, counted from its middle in voxels: (1, 3, D, H, W)."""
    middle = torch.tensor([(size - 1) / 2.0 for size in shape], device=device).view(1, 3, 1, 1, 1)
    return voxel_grid(shape, device) - middle


def affine_field(matrix: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The displacement of places by an affine transformation, (B, 3, D, H, W) in voxels.

    :param matrix: (B, 4, 4), on places in units of ``RADIUS``.
    :param positions: (B or 1, 3, D, H, W) in voxels from the middle.
    """
    change = matrix[:, :3] - torch.eye(4, device=matrix.device)[:3]
    shift = RADIUS * change[:, :, 3].view(-1, 3, 1, 1, 1)
    positions = positions.expand(len(matrix), -1, -1, -1, -1)
    return torch.einsum("brc,bcdhw->brdhw", change[:, :, :3], positions) + shift


def _pooled_moments(features: torch.Tensor, factor: int) -> torch.Tensor:
    """The mean of each channel, and of its products with the place along each axis: (B, C, D, H, W) to (B, 4 C).

    :param factor: how many voxels of the images a side make one of the features'.
    """
    positions = centred_positions(features.shape[2:], features.device) * (factor / RADIUS)
    means = features.mean(dim=(2, 3, 4))
    moments = torch.einsum("bcdhw,adhw->bca", features, positions[0]) / features[0, 0].numel()
    return torch.cat([means[:, :, None], moments], dim=2).flatten(1)


@torch.no_grad()
def _self_similarity_matches(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """How well what surrounds each fixed voxel matches what surrounds the moving voxels about the same place.

    :returns: (B, 27, D, H, W), one number for each of :data:`matching.SHIFTS`.
    """
    axes = (1, 2, 3, 4)
    described = []
    for image in (moving, fixed):
        values = descriptor(image)
        values = values - values.mean(dim=axes[1:], keepdim=True)
        described.append(values / values.square().mean(dim=axes, keepdim=True).sqrt().clamp(min=1e-6))
    return local_matches(*described)


def _channels_last(features: torch.Tensor) -> torch.Tensor:
    # A convolution of few channels, or of a small image, leaves this layout, in which the next are faster.
    return features.contiguous(memory_format=torch.channels_last_3d)
