"""The networks of Hu et al. (2018) for weakly supervised, multimodal registration.

Y. Hu, M. Modat et al.: Weakly-supervised convolutional neural networks for multimodal image registration. Medical
Image Analysis 49, 2018. A global network estimates an affine transformation, a local one a dense displacement as a sum
over several resolutions, and a composite network applies one after the other. Each can be used alone. All are called
with images only: labels are used by the loss alone.

Departures:

- The local network computes features of each image alone, with the same weights, and solves for the displacement that
  aligns them: it has to learn features that do not depend on the contrast, not how to find a displacement. The paper's
  network processes both images at once, and needs many more training pairs.
- Besides the learned features it compares the images' self-similarity (MIND-SSC, Heinrich et al. 2013), which works
  before any training.
- From coarse to fine: each resolution corrects what the coarser ones have left (as in the optical flow of D. Sun et
  al., PWC-Net, CVPR 2018).
- The sum over the resolutions is a stationary velocity, which is integrated (Arsigny et al. 2006); the affine
  transformation is a matrix exponential (Arsigny et al. 2009). Both are the identity at the start, and diffeomorphic.
- The global network pools over the whole image, where the paper's has a fully connected layer for one size. It pools
  first moments besides the mean, since the mean alone does not depend on the position of a feature.
- The two transformations are composed; the public code adds them.
- Instance instead of batch normalisation.

Fields have half the images' resolution, and are in their own voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..spatial.fields import integrate, resize_field, smooth, voxel_grid, warp
from .blocks import INTEGRATION_STEPS, VELOCITY_BLUR, convolution
from .feature_pyramid import FeaturePyramid, self_similarity
from .lucas_kanade import SCALE, FlowStep

# Refinements of the velocity at each resolution between the coarsest and the finest, which takes most of the time.
PASSES = 2
# Initial weight of the learned features, relative to the self-similarity.
INITIAL_STRENGTH = 0.3
# Unit of length in voxels of the fields: about the radius of a head at 4 mm, whatever the images' size.
RADIUS = 18.0
FIELD_FACTOR = 2


@dataclass(frozen=True)
class Description:
    """The features of one image.

    :param image: (B, 1, D, H, W).
    :param features: learned features, (B, C, ...) from coarse to fine, of length one in every voxel; none for an affine
        network.
    :param compared: self-similarity and learned features, likewise, which are compared with the other image's.
    """

    image: torch.Tensor
    features: list[torch.Tensor]
    compared: list[torch.Tensor]


class GlobalNetwork(nn.Module):
    """A network for the affine transformation, as a field.

    :param global_channels: of the features at 1/2, 1/4 ... of the resolution.
    """

    segmenter = None  # it does not segment

    def __init__(self, global_channels: tuple[int, ...] = (16, 32)) -> None:
        super().__init__()
        # Image sizes must be multiples of this.
        self.size_multiple = 2 ** len(global_channels)
        counts = (2, *global_channels)
        self.layers = nn.Sequential(*(convolution(one, next_one, stride=2) for one, next_one in pairwise(counts)))
        self.logarithm = nn.Linear(4 * counts[-1], 12)
        nn.init.zeros_(self.logarithm.weight)
        nn.init.zeros_(self.logarithm.bias)
        # An optimiser's step changes a sum in proportion to its number of terms; this keeps the first steps small.
        self.gain = (4 * counts[-1]) ** -0.5

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Align.

        :param moving: (B, 1, D, H, W), sizes multiples of ``size_multiple``.
        :param fixed: likewise.
        :returns: one (B, 3, D / 2, H / 2, W / 2) field in voxels.
        """
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """Return the images themselves: this network processes both at once."""
        return Description(moving, [], []), Description(fixed, [], [])

    def match(self, moving: Description, fixed: Description) -> list[torch.Tensor]:
        """Return what :meth:`forward` returns."""
        shape = [size // FIELD_FACTOR for size in fixed.image.shape[2:]]
        positions = centred_positions(shape, fixed.image.device)
        return [affine_field(self.matrix(moving.image, fixed.image), positions)]

    def matrix(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the transformation of positions from the centre in units of ``RADIUS``: (B, 4, 4)."""
        features = self.layers(torch.cat([fixed, moving], dim=1)).float()
        logarithm = self.logarithm(_pooled_moments(features, self.size_multiple // FIELD_FACTOR)).view(-1, 3, 4)
        return torch.matrix_exp(functional.pad(self.gain * logarithm, (0, 0, 0, 1)))


class LocalNetwork(nn.Module):
    """A network for a dense displacement, from a velocity that is summed over the resolutions.

    :param channels: of the features at 1/2, 1/4, 1/8 ... of the resolution.
    :param matching_channels: of the features that are compared between the images.
    """

    segmenter = None  # it does not segment

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64), matching_channels: int = 16) -> None:
        super().__init__()
        self.describing = FeaturePyramid(channels, matching_channels)
        self.size_multiple = self.describing.size_multiple
        # Weights of the learned features, relative to the self-similarity, at each resolution.
        self.strengths = nn.Parameter(torch.full((len(channels),), INITIAL_STRENGTH / SCALE))
        finest = len(channels) - 1
        counts = [PASSES if 0 < level < finest else 1 for level in range(len(channels))]
        self.steps = nn.ModuleList(nn.ModuleList(FlowStep() for _ in range(count)) for count in counts)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register as :meth:`GlobalNetwork.forward`."""
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """Return the features of (B, 1, D, H, W) images, each processed alone."""
        # In one batch they take less time.
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
        """Return the field that registers two described images, as :meth:`forward` does."""
        return [integrate(self.velocity(moving.compared, fixed.compared), INTEGRATION_STEPS)]

    def velocity(self, moving: list[torch.Tensor], fixed: list[torch.Tensor]) -> torch.Tensor:
        """Return the sum of the velocities of all resolutions, each correcting the sum of the coarser ones.

        :param moving: features to compare, from coarse to fine.
        :param fixed: likewise.
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
    """A network for an affine transformation, followed by a dense displacement for the rest.

    :param global_channels: as :class:`GlobalNetwork`.
    :param local_options: of :class:`LocalNetwork`.
    """

    segmenter = None  # it does not segment

    def __init__(self, global_channels: tuple[int, ...] = (16, 32), **local_options: object) -> None:
        super().__init__()
        self.affine = GlobalNetwork(global_channels)
        self.local = LocalNetwork(**local_options)
        self.size_multiple = max(self.affine.size_multiple, self.local.size_multiple)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        """Register as :meth:`GlobalNetwork.forward`.

        :returns: the affine field, and its composition with the dense one, ``x -> affine(x + dense(x))``.
        """
        return self.match(*self.describe(moving, fixed))

    def describe(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[Description, Description]:
        """Return the features of (B, 1, D, H, W) images, each processed alone."""
        return self.local.describe(moving, fixed)

    def match(self, moving: Description, fixed: Description) -> list[torch.Tensor]:
        """Return the fields that register two described images, as :meth:`forward` does."""
        matrix = self.affine.matrix(moving.image, fixed.image)
        aligned = [_aligned(level, matrix, number) for number, level in enumerate(moving.compared[::-1])][::-1]
        (dense,) = self.local.match(replace(moving, compared=aligned), fixed)
        positions = centred_positions(dense.shape[2:], dense.device)
        # Evaluated at the displaced voxel, not interpolated: exact also beyond the border.
        return [affine_field(matrix, positions), dense + affine_field(matrix, positions + dense)]


def _aligned(features: torch.Tensor, matrix: torch.Tensor, halvings: int) -> torch.Tensor:
    """Warp features by an affine transformation.

    :param halvings: number of halvings from the fields' resolution to that of the features.
    """
    positions = centred_positions(features.shape[2:], features.device)
    return warp(features, affine_field(matrix, positions, RADIUS / 2**halvings))


def centred_positions(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return the positions of the voxels of a grid from its centre, in voxels: (1, 3, D, H, W)."""
    middle = torch.tensor([(size - 1) / 2.0 for size in shape], device=device).view(1, 3, 1, 1, 1)
    return voxel_grid(shape, device) - middle


def affine_field(matrix: torch.Tensor, positions: torch.Tensor, radius: float = RADIUS) -> torch.Tensor:
    """Return the displacement of positions by an affine transformation, (B, 3, D, H, W) in voxels.

    :param matrix: (B, 4, 4), on positions in units of the radius.
    :param positions: (B or 1, 3, D, H, W) in voxels from the centre.
    :param radius: in these voxels.
    """
    change = matrix[:, :3] - torch.eye(4, device=matrix.device)[:3]
    shift = radius * change[:, :, 3].view(-1, 3, 1, 1, 1)
    positions = positions.expand(len(matrix), -1, -1, -1, -1)
    return torch.einsum("brc,bcdhw->brdhw", change[:, :, :3], positions) + shift


def _pooled_moments(features: torch.Tensor, factor: int) -> torch.Tensor:
    """Return the mean of each channel and of its products with the position along each axis, (B, 4 C).

    :param features: (B, C, D, H, W).
    :param factor: downsampling factor from the fields to the features.
    """
    positions = centred_positions(features.shape[2:], features.device) * (factor / RADIUS)
    means = features.mean(dim=(2, 3, 4))
    moments = torch.einsum("bcdhw,adhw->bca", features, positions[0]) / features[0, 0].numel()
    return torch.cat([means[:, :, None], moments], dim=2).flatten(1)
