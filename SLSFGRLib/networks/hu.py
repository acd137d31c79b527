"""The networks of Hu et al. (2018) for weakly supervised, multimodal registration.

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018. A global network finds an affine transformation, a local one a dense displacement as the
sum of what it sees at several resolutions, and their composition does first the one, then the other. Each is of
use alone. All are called with images only: labels enter nothing but the loss.

Departures:

- The local network describes each image by itself, with the same weights, and solves for the displacement that makes
  these features alike: what has to be learned is features that do not depend on the contrast, not how to find a
  displacement. The paper's sees both images at once, and needs many more examples.
- Beside the learned features it compares the images' self-similarity (MIND-SSC, Heinrich et al. 2013), which is of use
  before anything is learned.
- From coarse to fine: each resolution sees what the coarser ones have left (as the optical flow of D. Sun et al.,
  PWC-Net, CVPR 2018).
- The sum over the resolutions is taken for a stationary velocity and integrated (Arsigny et al. 2006), the affine
  transformation for a matrix logarithm (Arsigny et al. 2009). Both are zero at the start, and diffeomorphisms.
- The global network pools over the whole image where the paper's has a fully connected layer for one size. A mean
  says nothing of where a feature lies; its first moments, which are pooled with it, do.
- The two transformations are composed; the public code adds them.
- Instance in place of batch normalisation.

Fields have half the images' resolution, and count in their own voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..spatial.fields import integrate, resize_field, smooth, voxel_grid, warp
from .blocks import convolution
from .feature_pyramid import FeaturePyramid, self_similarity
from .lucas_kanade import SCALE, FlowStep

# In voxels: integrating is safe only for velocities that are smooth on their grid.
VELOCITY_BLUR = 1.0
INTEGRATION_STEPS = 5
# How often each resolution improves the velocity: those between the coarsest and the finest, which takes most time.
PASSES = 2
# Of the learned features at the start, where self-similarity has 1: they know nothing yet.
FIRST_STRENGTH = 0.3
# Lengths are counted in so many voxels of the fields, about the radius of a head at 4 mm, whatever the images' size.
RADIUS = 18.0
FIELD_FACTOR = 2


@dataclass(frozen=True)
class Description:
    """What a network knows of one image by itself.

    :param image: (B, 1, D, H, W).
    :param features: learned ones, (B, C, ...) from coarse to fine, of length one in every voxel; none for an affine
        network.
    :param compared: all that is compared with the other image, likewise: the image's self-similarity and the features.
    """

    image: torch.Tensor
    features: list[torch.Tensor]
    compared: list[torch.Tensor]


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
        # The more numbers a sum has, the more a step of the optimiser changes it: the first steps are to be small.
        self.gain = (4 * counts[-1]) ** -0.5

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Align.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: one (B, 3, D / 2, H / 2, W / 2) field in voxels.
        """
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """The images as they are: this network sees both at once."""
        return Description(moving, [], []), Description(fixed, [], [])

    def match(self, moving: Description, fixed: Description) -> list[torch.Tensor]:
        """As :meth:`forward`."""
        shape = [size // FIELD_FACTOR for size in fixed.image.shape[2:]]
        positions = centred_positions(shape, fixed.image.device)
        return [affine_field(self.matrix(moving.image, fixed.image), positions)]

    def matrix(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """The transformation of places counted from the middle in units of ``RADIUS``: (B, 4, 4)."""
        features = self.layers(torch.cat([fixed, moving], dim=1)).float()
        logarithm = self.logarithm(_pooled_moments(features, self.size_multiple // FIELD_FACTOR)).view(-1, 3, 4)
        return torch.matrix_exp(functional.pad(self.gain * logarithm, (0, 0, 0, 1)))


class LocalNetwork(nn.Module):
    """Finds a dense displacement, from a velocity that is summed over the resolutions.

    :param channels: of the features at 1/2, 1/4, 1/8 ... of the resolution.
    :param matching_channels: of the features that are compared between the images.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64), matching_channels: int = 16) -> None:
        super().__init__()
        self.describing = FeaturePyramid(channels, matching_channels)
        self.size_multiple = self.describing.size_multiple
        # How much the learned features count beside the self-similarity, at each resolution.
        self.strengths = nn.Parameter(torch.full((len(channels),), FIRST_STRENGTH / SCALE))
        finest = len(channels) - 1
        counts = [PASSES if 0 < level < finest else 1 for level in range(len(channels))]
        self.steps = nn.ModuleList(nn.ModuleList(FlowStep() for _ in range(count)) for count in counts)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: one (B, 3, D / 2, H / 2, W / 2) field in voxels.
        """
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """Features of (B, 1, D, H, W) images, each by itself."""
        # Together they take less time.
        both = torch.cat([moving, fixed])
        similarity = self_similarity(both, len(self.steps))
        features = self.describing(both, similarity[-1])
        compared = [
            torch.cat([known, strength * learned], dim=1)
            for known, strength, learned in zip(similarity, SCALE * self.strengths, features, strict=True)
        ]
        halves = (slice(len(moving)), slice(len(moving), None))
        return tuple(
            Description(image, [level[half] for level in features], [level[half] for level in compared])
            for image, half in zip((moving, fixed), halves, strict=True)
        )

    def match(self, moving: Description, fixed: Description) -> list[torch.Tensor]:
        """The field that brings one described image to the other, as :meth:`forward`."""
        return [integrate(self.velocity(moving.compared, fixed.compared), INTEGRATION_STEPS)]

    def velocity(self, moving: list[torch.Tensor], fixed: list[torch.Tensor]) -> torch.Tensor:
        """The sum of what every resolution adds to make up for what the coarser ones have left.

        :param moving: what is compared, from coarse to fine.
        :returns: (B, 3, D / 2, H / 2, W / 2) in voxels.
        """
        coarsest = fixed[0]
        velocity = torch.zeros((len(coarsest), 3, *coarsest.shape[2:]), device=coarsest.device)
        for steps, of_moving, of_fixed in zip(self.steps, moving, fixed, strict=True):
            velocity = resize_field(velocity, of_fixed.shape[2:])
            for step in steps:
                warped = warp(of_moving, integrate(velocity, INTEGRATION_STEPS))
                velocity = velocity + smooth(step(warped, of_fixed), VELOCITY_BLUR)
        return velocity


class CompositeNetwork(nn.Module):
    """The affine transformation first, then the dense displacement between what it has left.

    :param global_channels: as :class:`GlobalNetwork`.
    :param local_options: of :class:`LocalNetwork`.
    """

    def __init__(self, global_channels: tuple[int, ...] = (16, 32), **local_options: object) -> None:
        super().__init__()
        self.affine = GlobalNetwork(global_channels)
        self.local = LocalNetwork(**local_options)
        self.size_multiple = max(self.affine.size_multiple, self.local.size_multiple)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: the affine field, and its composition with the dense one, ``x -> affine(x + dense(x))``; both
            (B, 3, D / 2, H / 2, W / 2) in voxels.
        """
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """Features of (B, 1, D, H, W) images, each by itself."""
        return self.local.describe(moving, fixed)

    def match(self, moving: Description, fixed: Description) -> list[torch.Tensor]:
        """The fields that bring one described image to the other, as :meth:`forward`."""
        matrix = self.affine.matrix(moving.image, fixed.image)
        aligned = [_aligned(level, matrix, number) for number, level in enumerate(moving.compared[::-1])][::-1]
        (dense,) = self.local.match(replace(moving, compared=aligned), fixed)
        positions = centred_positions(dense.shape[2:], dense.device)
        # Written out where the voxel has gone, not interpolated: exact also beyond the border.
        return [affine_field(matrix, positions), dense + affine_field(matrix, positions + dense)]


def _aligned(features: torch.Tensor, matrix: torch.Tensor, halvings: int) -> torch.Tensor:
    """Features warped by an affine transformation.

    :param halvings: how often the features' resolution is half of the fields'.
    """
    positions = centred_positions(features.shape[2:], features.device)
    return warp(features, affine_field(matrix, positions, RADIUS / 2**halvings))


def centred_positions(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Where the voxels of a grid lie, counted from its middle in voxels: (1, 3, D, H, W)."""
    middle = torch.tensor([(size - 1) / 2.0 for size in shape], device=device).view(1, 3, 1, 1, 1)
    return voxel_grid(shape, device) - middle


def affine_field(matrix: torch.Tensor, positions: torch.Tensor, radius: float = RADIUS) -> torch.Tensor:
    """The displacement of places by an affine transformation, (B, 3, D, H, W) in voxels.

    :param matrix: (B, 4, 4), on places in units of the radius.
    :param positions: (B or 1, 3, D, H, W) in voxels from the middle.
    :param radius: in these voxels.
    """
    change = matrix[:, :3] - torch.eye(4, device=matrix.device)[:3]
    shift = radius * change[:, :, 3].view(-1, 3, 1, 1, 1)
    positions = positions.expand(len(matrix), -1, -1, -1, -1)
    return torch.einsum("brc,bcdhw->brdhw", change[:, :, :3], positions) + shift


def _pooled_moments(features: torch.Tensor, factor: int) -> torch.Tensor:
    """The mean of each channel, and of its products with the place along each axis: (B, C, D, H, W) to (B, 4 C).

    :param factor: how many voxels of the fields a side make one of the features'.
    """
    positions = centred_positions(features.shape[2:], features.device) * (factor / RADIUS)
    means = features.mean(dim=(2, 3, 4))
    moments = torch.einsum("bcdhw,adhw->bca", features, positions[0]) / features[0, 0].numel()
    return torch.cat([means[:, :, None], moments], dim=2).flatten(1)
