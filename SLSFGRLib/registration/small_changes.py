"""Measure how a brain has changed between scans of one contrast: small displacements, found without bias.

The scans lie on one grid and are compared with their mean. Each displacement field minimises the squared difference of
intensities plus the squared derivatives of the field (Horn & Schunck 1981), by Gauss-Newton steps from coarse to fine.
Unlike the steps of :mod:`.field_optimisation` these are proportional to the evidence: noise moves next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..spatial.fields import (
    central_differences,
    downsample,
    pad_axis,
    resize_field,
    sample,
    smooth,
    voxel_grid,
)

# What is expected of a field: the standard deviation of its derivatives. Brains shrink by a few percent in years.
EXPECTED_STRAIN = 0.05
# Least standard deviation of the noise, where intensities go from 0 to 1. From 0.01 to 0.007 a drawn shrinkage is found
# more completely by a thirtieth, and noise moves a thirtieth more.
MIN_NOISE = 0.007
# Standard deviation of the neighbourhood in which the difference of two bias fields is constant, in mm. From 12 down to
# 3 mm, a smaller one left less of a drawn bias field in the volumes, and changed nothing without one.
BIAS_SIGMA_MM = 4.0
# The factor is 1 where the mean square of the intensities is far below this share of its maximum: outside the brain.
LITTLE = 0.02
# Weights of four voxels for the point a quarter of a voxel before the third of them (R. Keys, Cubic convolution
# interpolation for digital image processing, 1981).
CUBIC = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)


@dataclass(frozen=True)
class Level:
    """One resolution: its downsampling factor, Gauss-Newton steps, and steps of the linear solver in each of them."""

    factor: int
    steps: int
    iterations: int


# The mean image is renewed before the second round, from the scans as they have been brought onto each other.
ROUNDS = ((Level(4, 8, 8), Level(2, 6, 8)), (Level(2, 3, 8), Level(1, 3, 10)))


@torch.no_grad()
def changes_from_mean(
    images: Sequence[torch.Tensor],
    weights: torch.Tensor,
    spacing: float,
    update: Callable[[float], None] = lambda fraction: None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Find the mean of some scans in shape and intensity, and the field from it to each scan.

    The order of the scans makes no difference.

    :param images: each (1, 1, D, H, W), from 0 to 1, rigidly aligned; sizes are multiples of 4.
    :param weights: (1, 1, D, H, W), 1 where intensities are compared, 0 elsewhere.
    :param spacing: of the voxels in mm.
    :param update: called with the fraction done.
    :returns: the mean, (1, 1, D, H, W), and for each scan a field in voxels, (1, 3, D, H, W):
        ``mean(x)`` shows what the scan shows at ``x + u(x)``. The mean of the fields is zero.
    """
    fields = [image.new_zeros(1, 3, *image.shape[2:]) for image in images]
    for number, levels in enumerate(ROUNDS):
        warped = [warp_precisely(doubled(image), field) for image, field in zip(images, fields, strict=True)]
        mean = torch.stack(warped).mean(dim=0)
        for index, image in enumerate(images):
            update((number + index / len(images)) / len(ROUNDS))
            for level in levels:
                fields[index] = _solved(mean, image, weights, fields[index], level, spacing)
        centre = torch.stack(fields).mean(dim=0)
        fields = [field - centre for field in fields]
    return mean, fields


def doubled(image: torch.Tensor) -> torch.Tensor:
    """Return an image on voxels of half the size, by cubic convolution; the outer faces stay."""
    for axis in (2, 3, 4):
        padded = pad_axis(image, axis, 2, "replicate")
        size = image.shape[axis]
        # The new centres lie a quarter of a voxel before and behind the old ones.
        before = sum(w * padded.narrow(axis, k, size) for k, w in enumerate(CUBIC))
        behind = sum(w * padded.narrow(axis, 4 - k, size) for k, w in enumerate(CUBIC))
        image = torch.stack([before, behind], axis + 1).flatten(axis, axis + 1)
    return image


def warp_precisely(fine: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Pull back an image that was doubled, (B, C, 2D, 2H, 2W), onto the grid of the field."""
    return sample(fine, 2.0 * (voxel_grid(field.shape[2:], field.device) + field) + 0.5)


def _solved(
    mean: torch.Tensor,
    image: torch.Tensor,
    weights: torch.Tensor,
    field: torch.Tensor,
    level: Level,
    spacing: float,
) -> torch.Tensor:
    """Return the field refined at one level, on the grid of the images."""
    fixed, moving, weight = (downsample(values, level.factor) for values in (mean, image, weights))
    moving = doubled(moving)
    found = resize_field(field, fixed.shape[2:])
    coarse = found
    for _ in range(level.steps):
        found = found + _step(fixed, moving, weight, found, level.iterations, spacing * level.factor)
    # Only the change is interpolated, so that what finer levels have found is kept.
    return field + resize_field(found - coarse, field.shape[2:])


def _step(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    weight: torch.Tensor,
    field: torch.Tensor,
    iterations: int,
    spacing: float,
) -> torch.Tensor:
    """Return the Gauss-Newton step."""
    warped = warp_precisely(moving, field)
    difference = without_bias(warped - fixed, fixed, weight, BIAS_SIGMA_MM / spacing)
    # The mean of both derivatives makes the step the same in size if the images change places.
    gradient = 0.5 * (central_differences(warped) + central_differences(fixed))[:, 0]
    inside = weight > 0.5
    spread = 1.4826 * difference[inside].abs().median() if inside.any() else difference.new_tensor(MIN_NOISE)
    smoothness = float(spread.clamp(min=MIN_NOISE)) ** 2 / EXPECTED_STRAIN**2
    weighted = weight * gradient

    def matrix(vectors: torch.Tensor) -> torch.Tensor:
        return weighted * (gradient * vectors).sum(dim=1, keepdim=True) + smoothness * roughness(vectors)

    diagonal = weighted * gradient + 6.0 * smoothness
    return _conjugate_gradients(matrix, -weighted * difference, diagonal, iterations)


def without_bias(difference: torch.Tensor, fixed: torch.Tensor, weight: torch.Tensor, sigma: float) -> torch.Tensor:
    """Take out of a difference of two images what a smooth factor explains: a difference of their bias fields.

    Where edges lie on each other, only a bias field makes whole neighbourhoods differ (E. Lewis & N. Fox, Correction of
    differential intensity inhomogeneity in longitudinal MR images, NeuroImage 23, 2004).

    :param sigma: of the neighbourhood, in voxels.
    """
    product, square = (smooth(weight * fixed * values, sigma) for values in (difference, fixed))
    return difference - fixed * product / (square + LITTLE * square.max())


def roughness(field: torch.Tensor) -> torch.Tensor:
    """Return minus the Laplacian of each component, with nothing flowing through the border."""
    found = torch.zeros_like(field)
    for axis in (2, 3, 4):
        step = field.diff(dim=axis)
        found.narrow(axis, 0, field.shape[axis] - 1).sub_(step)
        found.narrow(axis, 1, field.shape[axis] - 1).add_(step)
    return found


def _conjugate_gradients(
    matrix: Callable[[torch.Tensor], torch.Tensor], target: torch.Tensor, diagonal: torch.Tensor, iterations: int
) -> torch.Tensor:
    """Solve ``matrix(x) = target`` approximately, preconditioned by the diagonal."""
    found, residual = torch.zeros_like(target), target.clone()
    scaled = residual / diagonal
    direction, size = scaled.clone(), (residual * scaled).sum()
    for _ in range(iterations):
        if size < 1e-12:
            break
        image = matrix(direction)
        length = size / (direction * image).sum()
        found += length * direction
        residual -= length * image
        scaled = residual / diagonal
        new_size = (residual * scaled).sum()
        direction = scaled + (new_size / size) * direction
        size = new_size
    return found
