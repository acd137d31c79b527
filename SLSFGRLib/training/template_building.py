"""Building a population template, the mean of a set of brains in shape and tissue, by iterated registration.

The present template is deformed to each brain, the warped brains are averaged, and the mean of all fields is removed
from the template's shape. B. Avants & J. Gee: Geodesic estimation for large deformation anatomical shape averaging and
interpolation. NeuroImage 23, 2004. S. Joshi et al.: Unbiased diffeomorphic atlas construction for computational
anatomy. NeuroImage 23, 2004.
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
# Levels of the registrations, round by round. Chosen, not measured.
ROUNDS = ((), LEVELS[:1], LEVELS, LEVELS, FINE, FINE, FINE)
# Around the template, in mm. Chosen, not measured.
MARGIN = 10.0
# Voxels with a smaller probability of any tissue are outside the brain. Chosen, not measured.
MIN_PROBABILITY = 0.1


@dataclass(frozen=True)
class SegmentedSubject:
    """A brain's tissue probability maps and structures.

    :param probabilities: (1, 1 + structures, D, H, W), on the grid of the maps.
    """

    maps: BrainMaps
    probabilities: torch.Tensor

    @classmethod
    @torch.no_grad()
    def from_image(cls, image: sitk.Image, network: SLSFGRNetwork) -> SegmentedSubject:
        """Segment a brain.

        :param image: a skull-stripped T1 image.
        """
        prepared = prepare_for_network(image, "the image")
        segmentation = Segmentation.of(prepared, network)
        maps = BrainMaps.of(segmentation.tissues(prepared), prepared.grid, segmentation.structures)
        return cls(maps, segmentation.shares)


@torch.no_grad()
def build_template(
    brains: Sequence[SegmentedSubject], update: Callable[[float], None] = lambda fraction: None
) -> BrainMaps:
    """Build the template of some brains.

    :param update: called with the fraction done.
    :raises InputError: in one of them too few structures were found.
    """
    matrices, centre = _align(brains)
    template = BrainMaps(
        torch.zeros(1, len(BESIDE) + 1, 1, 1, 1), _grid_around(brains, centre), brains[0].maps.structures
    )
    for number, levels in enumerate(ROUNDS):
        template = _next_template(
            template, brains, matrices, levels, lambda part, done=number: update((done + part) / len(ROUNDS))
        )
    return _crop(template)


def _crop(template: BrainMaps) -> BrainMaps:
    """Crop a template to the brain and a margin."""
    inside = torch.nonzero(template.tissues[0].sum(dim=0) > MIN_PROBABILITY)
    margin = round(MARGIN / SPACING)
    whole = torch.tensor(template.grid.shape)
    lower, upper = (inside.amin(0) - margin).clamp(min=0), torch.minimum(inside.amax(0) + 1 + margin, whole)
    size = -(-(upper - lower) // COARSEST_FACTOR) * COARSEST_FACTOR
    lower = torch.minimum(lower, whole - size)
    parts = tuple(slice(first, first + count) for first, count in zip(lower.tolist(), size.tolist(), strict=True))
    grid = template.grid.cropped(lower.tolist(), size.tolist())
    return replace(template, tissues=template.tissues[(..., *parts)].contiguous(), grid=grid)


def _align(brains: Sequence[SegmentedSubject]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return an affine matrix from the template to each brain, 4x4, LPS mm, and the template's centre.

    The template's centroids are the mean of the aligned brains' centroids; three rounds, from the first brain's on.
    """
    goal = brains[0].maps.structures
    for _ in range(3):
        matrices = [align_centroids(goal, brain.maps.structures) for brain in brains]
        if any(matrix is None for matrix in matrices):
            raise InputError("one of the brains has too few structures that are recognised; leave it out.")
        size = np.exp(np.mean([np.log(np.linalg.det(matrix[:3, :3])) for matrix in matrices]) / 3.0)
        aligned = [
            _apply(np.linalg.inv(matrix), brain.maps.structures.centroids)
            for matrix, brain in zip(matrices, brains, strict=True)
        ]
        centroids = np.mean(aligned, axis=0)
        centre = centroids.mean(axis=0)
        goal = replace(goal, centroids=centre + size * (centroids - centre))
    return [align_centroids(goal, brain.maps.structures) for brain in brains], centre


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _grid_around(brains: Sequence[SegmentedSubject], centre: np.ndarray) -> Grid:
    """Return a grid as large as the largest brain's, around a point in mm."""
    longest = np.max([brain.maps.grid.shape for brain in brains], axis=0) + round(MARGIN / SPACING)
    return Grid.upright(-(-longest // COARSEST_FACTOR) * COARSEST_FACTOR, SPACING, centre)


def _next_template(
    template: BrainMaps,
    brains: Sequence[SegmentedSubject],
    matrices: Sequence[np.ndarray],
    levels: tuple[Level, ...],
    update: Callable[[float], None],
) -> BrainMaps:
    """Warp all brains to the template, average them, and remove the mean of all fields from their shape."""
    fields, sums = torch.zeros(1, 3, *template.grid.shape), 0.0
    for number, (brain, matrix) in enumerate(zip(brains, matrices, strict=True)):
        update(number / len(brains))
        field = torch.zeros_like(fields)
        if levels:
            coarse, _ = template.field_to(brain.maps, matrix, levels)
            field = resize_field(coarse, template.grid.shape)
        linear = voxel_to_voxel(matrix, template.grid, brain.maps.grid)
        channels = torch.cat([brain.maps.tissues, brain.probabilities], dim=1)
        sums = sums + AffineWarper(channels, linear, template.grid.shape, 1)(field)
        fields += field
    inverse, _ = invert(fields / len(brains))
    counts = [len(BESIDE) + 1, brains[0].probabilities.shape[1]]
    tissues, probabilities = warp(sums / len(brains), inverse).split(counts, dim=1)
    return BrainMaps(tissues, template.grid, Structures.of(probabilities[0, 1:], template.grid))
