"""Modality independent neighbourhood descriptor, self-similarity context (MIND-SSC; Heinrich et al. 2013)."""

from __future__ import annotations

from itertools import combinations

import torch

from .lncc import box_sum

FACES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
# Pairs of the six face neighbours at a right angle: the twelve edges of the context.
EDGES = tuple(
    (first, second)
    for first, second in combinations(FACES, 2)
    if sum(a * b for a, b in zip(first, second, strict=True)) == 0
)


def _shifted(image: torch.Tensor, offset: tuple[int, ...], distance: int) -> torch.Tensor:
    """The image read ``distance`` voxels along ``offset``, edges continued."""
    padded = torch.nn.functional.pad(image, [distance] * 6, mode="replicate")
    for axis, step in enumerate(offset):
        padded = padded.narrow(axis + 2, distance * (1 + step), image.shape[axis + 2])
    return padded


def descriptor(image: torch.Tensor, radius: int = 1, distance: int = 2) -> torch.Tensor:
    """Twelve numbers in (0, 1] about each voxel that do not depend on the contrast.

    :param image: (B, 1, D, H, W).
    :param radius: half the side of the patches that are compared, in voxels.
    :param distance: how far from the voxel the patches lie, in voxels.
    :returns: (B, 12, D, H, W).
    """
    neighbours = {offset: _shifted(image, offset, distance) for offset in FACES}
    squares = torch.cat([(neighbours[a] - neighbours[b]).square() for a, b in EDGES], dim=1)
    distances = box_sum(squares, radius) / (2 * radius + 1) ** 3
    distances = distances - distances.amin(dim=1, keepdim=True)
    variance = distances.mean(dim=1, keepdim=True)
    # The bounds keep flat regions and strong edges from deciding alone.
    middle = variance.mean(dim=(2, 3, 4), keepdim=True)
    variance = torch.minimum(torch.maximum(variance, 1e-3 * middle), 1e3 * middle)
    return torch.exp(-distances / (variance + 1e-12))


class MindSelfSimilarity:
    """Mean squared difference of the descriptors: 0 for images alike up to any local change of contrast."""

    def __init__(self, radius: int = 1, distance: int = 2) -> None:
        self.radius = radius
        self.distance = distance

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Compare (B, 1, D, H, W) images; the mean over voxels, channels and batch."""
        first = descriptor(warped.float(), self.radius, self.distance)
        second = descriptor(fixed.float(), self.radius, self.distance)
        return (first - second).square().mean()
