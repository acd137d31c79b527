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
from ..models.model import SegmentationNetworks
from ..registration.field_optimisation import COARSEST_FACTOR, Level
from ..registration.template import LEVELS, SPACING, WEIGHTS, TissueAtlas
from ..segmentation.centroids import align_centroids
from ..segmentation.structures import StructureCentroids
from ..segmentation.subject import Subject
from ..segmentation.tissue_maps import TISSUES
from ..spatial.affine import Affine
from ..spatial.fields import resize_field
from ..spatial.grid import Grid
from ..spatial.shape_mean import ShapeMean
from ..spatial.warping import AffineWarper

FINE = (*LEVELS, Level(spacing=2.0, iterations=12, weights=WEIGHTS))
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

    maps: TissueAtlas
    probabilities: torch.Tensor

    @classmethod
    @torch.no_grad()
    def from_image(cls, image: sitk.Image, networks: SegmentationNetworks) -> SegmentedSubject:
        """Segment a brain.

        :param image: a skull-stripped T1 image.
        """
        subject = Subject.from_image(image).segmented(networks)
        return cls(TissueAtlas.from_subject(subject), subject.segmentation.posteriors)


@torch.no_grad()
def build_template(
    brains: Sequence[SegmentedSubject], update: Callable[[float], None] = lambda fraction: None
) -> TissueAtlas:
    """Build the template of some brains.

    :param update: called with the fraction done.
    :raises InputError: in one of them too few structures were found.
    """
    affines, centre = _align(brains)
    template = TissueAtlas(
        torch.zeros(1, len(TISSUES), 1, 1, 1), _grid_around(brains, centre), brains[0].maps.structures
    )
    for number, levels in enumerate(ROUNDS):
        template = _next_template(
            template, brains, affines, levels, lambda part, done=number: update((done + part) / len(ROUNDS))
        )
    return _crop(template)


def _crop(template: TissueAtlas) -> TissueAtlas:
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


def _align(brains: Sequence[SegmentedSubject]) -> tuple[list[Affine], np.ndarray]:
    """Return the affine transform from the template to each brain, and the template's centre.

    The template's centroids are the mean of the aligned brains' centroids; three rounds, from the first brain's on.
    """
    goal = brains[0].maps.structures
    for _ in range(3):
        affines = [align_centroids(goal, brain.maps.structures) for brain in brains]
        if any(affine is None for affine in affines):
            raise InputError("one of the brains has too few structures that are recognised; leave it out.")
        size = np.exp(np.mean([np.log(affine.determinant) for affine in affines]) / 3.0)
        aligned = [
            affine.inverse().apply(brain.maps.structures.centroids)
            for affine, brain in zip(affines, brains, strict=True)
        ]
        centroids = np.mean(aligned, axis=0)
        centre = centroids.mean(axis=0)
        goal = replace(goal, centroids=centre + size * (centroids - centre))
    return [align_centroids(goal, brain.maps.structures) for brain in brains], centre


def _grid_around(brains: Sequence[SegmentedSubject], centre: np.ndarray) -> Grid:
    """Return a grid as large as the largest brain's, around a point in mm."""
    longest = np.max([brain.maps.grid.shape for brain in brains], axis=0) + round(MARGIN / SPACING)
    return Grid.upright(-(-longest // COARSEST_FACTOR) * COARSEST_FACTOR, SPACING, centre)


def _next_template(
    template: TissueAtlas,
    brains: Sequence[SegmentedSubject],
    affines: Sequence[Affine],
    levels: tuple[Level, ...],
    update: Callable[[float], None],
) -> TissueAtlas:
    """Warp all brains to the template, average them, and remove the mean of all fields from their shape."""
    mean = ShapeMean()
    for number, (brain, affine) in enumerate(zip(brains, affines, strict=True)):
        update(number / len(brains))
        field = torch.zeros(1, 3, *template.grid.shape)
        if levels:
            coarse, _ = template.field_to(brain.maps, affine, levels)
            field = resize_field(coarse, template.grid.shape)
        matrix = affine.in_voxels(template.grid, brain.maps.grid)
        channels = torch.cat([brain.maps.tissues, brain.probabilities], dim=1)
        mean.add(AffineWarper(channels, matrix, template.grid.shape, 1)(field), field)
    counts = [len(TISSUES), brains[0].probabilities.shape[1]]
    tissues, probabilities = mean.centred()[0].split(counts, dim=1)
    return TissueAtlas(tissues, template.grid, StructureCentroids.from_posteriors(probabilities[0, 1:], template.grid))
