"""The mean of a set of brains, in shape and in tissues, found by registering all of them to it again and again.

As Avants & Gee 2004 and Joshi et al. 2004 do: what is the mean so far is deformed to each brain; the brains are brought
to it and averaged, and the mean of all fields is taken out of its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..networks import SLSFGRNetwork
from ..registration.centroids import align_centroids
from ..registration.deformable import COARSEST_FACTOR, Level
from ..registration.template import BESIDE, LEVELS, SPACING, BrainMaps
from ..segmentation.pipeline import Segmentation, prepare_for_network
from ..segmentation.structures import Structures
from ..spatial.fields import invert, resize_field, warp
from ..spatial.grid import Grid, voxel_to_voxel
from ..spatial.warping import AffineWarper

FINE = (*LEVELS, Level(spacing=2.0, iterations=12, tissues=BESIDE))
# What the mean so far is deformed by, round by round.
ROUNDS = ((), LEVELS[:1], LEVELS, LEVELS, FINE, FINE, FINE)
# About the mean brain, in mm.
MARGIN = 10.0
# What shows less than this of any tissue is none of the brain.
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class SeenBrain:
    """A brain, and what the network sees in it.

    :param shares: (1, 1 + structures, D, H, W), on the grid of the maps.
    """

    maps: BrainMaps
    shares: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, image: sitk.Image, network: SLSFGRNetwork) -> SeenBrain:
        """Segment a brain.

        :param image: a T1 brain without skull.
        """
        prepared = prepare_for_network(image, "the image")
        seen = Segmentation.of(prepared, network)
        return cls(BrainMaps.of(seen.tissues(prepared), prepared.grid, seen.structures), seen.shares)


@torch.no_grad()
def mean_of(brains: Sequence[SeenBrain], update: Callable[[float], None] = lambda fraction: None) -> BrainMaps:
    """The mean of some brains.

    :raises InputError: in one of them too few structures are recognised.
    """
    matrices, centre = _to_each(brains)
    mean = BrainMaps(torch.zeros(1, len(BESIDE) + 1, 1, 1, 1), _grid_about(brains, centre), brains[0].maps.structures)
    for number, levels in enumerate(ROUNDS):
        mean = _next_mean(mean, brains, matrices, levels, lambda part, done=number: update((done + part) / len(ROUNDS)))
    return _cropped(mean)


def _cropped(mean: BrainMaps) -> BrainMaps:
    """Without what lies farther than the margin from the brain."""
    inside = torch.nonzero(mean.tissues[0].sum(dim=0) > LEAST_SHARE)
    margin = round(MARGIN / SPACING)
    whole = torch.tensor(mean.grid.shape)
    lower, upper = (inside.amin(0) - margin).clamp(min=0), torch.minimum(inside.amax(0) + 1 + margin, whole)
    size = -(-(upper - lower) // COARSEST_FACTOR) * COARSEST_FACTOR
    lower = torch.minimum(lower, whole - size)
    parts = tuple(slice(first, first + count) for first, count in zip(lower.tolist(), size.tolist(), strict=True))
    grid = mean.grid.cropped(lower.tolist(), size.tolist())
    return replace(mean, tissues=mean.tissues[(..., *parts)].contiguous(), grid=grid)


def _to_each(brains: Sequence[SeenBrain]) -> tuple[list[np.ndarray], np.ndarray]:
    """An affine matrix from the mean brain to each, 4x4, LPS mm, and the mean brain's middle.

    The mean of the structures' centroids, brought to the first brain's place and size, and of these again.
    """
    goal = brains[0].maps.structures
    for _ in range(3):
        matrices = [align_centroids(goal, brain.maps.structures) for brain in brains]
        if any(matrix is None for matrix in matrices):
            raise InputError("a brain of which too few structures are recognised; leave it out.")
        size = np.exp(np.mean([np.log(np.linalg.det(matrix[:3, :3])) for matrix in matrices]) / 3.0)
        brought = [
            _applied(np.linalg.inv(matrix), brain.maps.structures.centroids)
            for matrix, brain in zip(matrices, brains, strict=True)
        ]
        centroids = np.mean(brought, axis=0)
        middle = centroids.mean(axis=0)
        goal = replace(goal, centroids=middle + size * (centroids - middle))
    return [align_centroids(goal, brain.maps.structures) for brain in brains], middle


def _applied(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _grid_about(brains: Sequence[SeenBrain], centre: np.ndarray) -> Grid:
    """A grid as large as the largest brain's, about a point in mm."""
    longest = np.max([brain.maps.grid.shape for brain in brains], axis=0) + round(MARGIN / SPACING)
    return Grid.upright(-(-longest // COARSEST_FACTOR) * COARSEST_FACTOR, SPACING, centre)


def _next_mean(
    mean: BrainMaps,
    brains: Sequence[SeenBrain],
    matrices: Sequence[np.ndarray],
    levels: tuple[Level, ...],
    update: Callable[[float], None],
) -> BrainMaps:
    """All brains brought to the mean so far, averaged, in the mean of their shapes."""
    fields, sums = torch.zeros(1, 3, *mean.grid.shape), 0.0
    for number, (brain, matrix) in enumerate(zip(brains, matrices, strict=True)):
        update(number / len(brains))
        field = torch.zeros_like(fields)
        if levels:
            found, _ = mean.field_to(brain.maps, matrix, levels)
            field = resize_field(found, mean.grid.shape)
        linear = voxel_to_voxel(matrix, mean.grid, brain.maps.grid)
        seen = torch.cat([brain.maps.tissues, brain.shares], dim=1)
        sums = sums + AffineWarper(seen, linear, mean.grid.shape, 1)(field)
        fields += field
    back, _ = invert(fields / len(brains))
    tissues, shares = warp(sums / len(brains), back).split([len(BESIDE) + 1, brains[0].shares.shape[1]], dim=1)
    return BrainMaps(tissues, mean.grid, Structures.of(shares[0, 1:], mean.grid))
