"""Modality independent neighbourhood descriptor, self-similarity context (MIND-SSC; Heinrich et al. 2013)."""

from __future__ import annotations

from itertools import combinations

import torch

from .lncc import box_sum

FACES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
# Pairs of face neighbours at a right angle: the twelve edges of the self-similarity context.
EDGES = tuple(
    (first, second)
    for first, second in combinations(FACES, 2)
    if sum(a * b for a, b in zip(first, second, strict=True)) == 0
)


def _shifted(image: torch.Tensor, offset: tuple[int, ...], distance: int) -> torch.Tensor:
    """Return the image shifted by ``distance`` voxels along ``offset``, edges replicated."""
    padded = torch.nn.functional.pad(image, [distance] * 6, mode="replicate")
    for axis, step in enumerate(offset):
        padded = padded.narrow(axis + 2, distance * (1 + step), image.shape[axis + 2])
    return padded


def descriptor(image: torch.Tensor, radius: int = 1, distance: int = 2) -> torch.Tensor:
    """Return twelve numbers in (0, 1] for each voxel, which do not depend on the contrast.

    :param image: (B, 1, D, H, W).
    :param radius: half the side of the patches that are compared, in voxels.
    :param distance: of the patches from the voxel, in voxels.
    :returns: (B, 12, D, H, W).
    """
    neighbours = {offset: _shifted(image, offset, distance) for offset in FACES}
    squares = torch.cat([(neighbours[a] - neighbours[b]).square() for a, b in EDGES], dim=1)
    distances = box_sum(squares, radius) / (2 * radius + 1) ** 3
    distances = distances - distances.amin(dim=1, keepdim=True)
    variance = distances.mean(dim=1, keepdim=True)
    # The bounds limit the influence of flat regions and of strong edges.
    middle = variance.mean(dim=(2, 3, 4), keepdim=True)
    variance = torch.minimum(torch.maximum(variance, 1e-3 * middle), 1e3 * middle)
    return torch.exp(-distances / (variance + 1e-12))


class MindSelfSimilarity:
    """The mean squared difference of the descriptors: 0 for images that are equal up to a local change of contrast."""

    def __init__(self, radius: int = 1, distance: int = 2) -> None:
        self.radius = radius
        self.distance = distance

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the mean over voxels, channels and batch for (B, 1, D, H, W) images."""
        first = descriptor(warped.float(), self.radius, self.distance)
        second = descriptor(fixed.float(), self.radius, self.distance)
        return (first - second).square().mean()
