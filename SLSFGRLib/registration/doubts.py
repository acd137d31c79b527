"""Say in plain words what is doubtful in a result, for the notes of its report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.grid import grid_of_image, moved_points
from .result import RegistrationResult

# Chosen: brains of the benchmarks fold in less than 0.03 %, and their structures overlap by more than 0.7.
FOLDED_PERCENT, LITTLE_DICE = 0.1, 0.5
# A change of the mean local correlation, or of the mean Dice, by less is no change.
WORSE = 0.01
# So much of a brain at least should be seen in the other image. The brain's mask is sampled at so many points.
LITTLE_IN_VIEW, POINTS = 0.5, 2000
FOLDED = (
    "In {:.1f} % of the brain the deformation is folded: it turns tissue inside out there, and has no true inverse. "
    "Compare the images there."
)
LESS_OVERLAP = (
    "The structures of both brains overlap less than before the registration (Dice {:.2f} before, {:.2f} after): it "
    "has probably failed."
)
LITTLE_OVERLAP = "The structures of both brains overlap little (Dice {:.2f}): compare the images before you use it."
LESS_ALIKE = "The images are less alike after the registration than before: no good position may have been found."
OUT_OF_VIEW = (
    "Only {:.0f} % of the brain in the {} image lies in the field of view of the {} image; outside it the result is a "
    "guess."
)


def doubts(fixed: Subject, moving: Subject, result: RegistrationResult) -> list[str]:
    """Return a sentence for everything that is doubtful.

    :param result: with its report.
    """
    return [*_doubtful_figures(result.report), *_out_of_view(fixed, moving, result)]


def _doubtful_figures(report: dict) -> Iterator[str]:
    if report["folding_percent"] > FOLDED_PERCENT:
        yield FOLDED.format(report["folding_percent"])
    before, after = report["dice_before"], report["dice_after"]
    if after is not None and after < before - WORSE:
        yield LESS_OVERLAP.format(before, after)
    elif after is not None and after < LITTLE_DICE:
        yield LITTLE_OVERLAP.format(after)
    if report["similarity_after"] < report["similarity_before"] - WORSE:
        yield LESS_ALIKE


def _out_of_view(fixed: Subject, moving: Subject, result: RegistrationResult) -> Iterator[str]:
    directions = (
        (fixed, moving, result.transform, ("fixed", "moving")),
        (moving, fixed, result.inverse_transform, ("moving", "fixed")),
    )
    for one, other, transform, names in directions:
        share = 1.0 if one.brain is None else share_in_view(one, other.image, transform)
        if share < LITTLE_IN_VIEW:
            yield OUT_OF_VIEW.format(100.0 * share, *names)


def share_in_view(subject: Subject, image: sitk.Image, transform: sitk.Transform) -> float:
    """Return how much of a subject's brain lies in the field of view of another image.

    :param transform: points of the subject's image to points of the other one.
    """
    voxels = np.argwhere(subject.brain.inside)
    voxels = voxels[:: max(1, len(voxels) // POINTS)]
    points = Affine(subject.brain.grid.matrix).apply(voxels)
    grid = grid_of_image(image)
    places = Affine(grid.matrix).inverse().apply(moved_points(transform, points))
    inside = (places > -0.5) & (places < np.array(grid.shape) - 0.5)
    return float(inside.all(axis=1).mean())
