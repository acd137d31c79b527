"""Notice a place where a brain differs much from its other side, such as a tumour that nobody has named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..segmentation.segmenter import DOWNSAMPLING_FACTOR
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import downsample, smooth
from .other_side import moved, to_other_side

# Both sides are compared in voxels of about 4 mm, averaged by a Gaussian of this width in mm.
FACTOR, SIGMA_MM = 4, 6.0
# A place counts where at least this fraction of what is averaged lies in the brain, on both sides.
MIN_BRAIN = 0.7
# Difference in units of that between the darkest and the brightest tissue, which is at least the last number of the
# scale from 0 to 1: in an image with less contrast, noise and bias field weigh more. Chosen, as is the first number
# (docs/develop/experiments.md).
LARGE, LEAST_CONTRAST = 0.5, 0.4
NOTE = (
    "The brain in the {name} image looks different on its left and right side, most at {place}. If that is a tumour, a "
    "stroke or a resection, name it as the lesion of the {name} image, or the deformation changes its volume."
)
# The letters of a position, as Slicer shows it, for positive and negative LPS coordinates.
LETTERS = ("LR", "PA", "SI")


@dataclass(frozen=True)
class Asymmetry:
    """The place where a brain differs most from its other side.

    :param difference: of the averaged intensities, in units of that between the darkest and the brightest tissue.
    :param position: (3,) in LPS mm; on one of the sides.
    """

    difference: float
    position: np.ndarray


def asymmetry_notes(fixed: Subject, moving: Subject) -> list[str]:
    """Return a sentence for each of two brains that may have a lesion nobody has named."""
    notes = []
    for name, subject in (("fixed", fixed), ("moving", moving)):
        found = largest_asymmetry(subject) if subject.lesion is None else None
        if found is not None and found.difference > LARGE:
            notes.append(NOTE.format(name=name, place=_in_words(found.position)))
    return notes


def largest_asymmetry(subject: Subject) -> Asymmetry | None:
    """Compare the two sides of a brain; None if it is not segmented, or too few structures are found."""
    affine = subject.segmentation and to_other_side(subject.segmentation.structures)
    if affine is None:
        return None
    grid = subject.grid.coarsened(FACTOR)
    brain = downsample(1.0 - subject.segmentation.posteriors[:, :1], FACTOR // DOWNSAMPLING_FACTOR)
    image = downsample(subject.corrected, FACTOR)
    tissues, _ = subject.segmentation.intensity_model.tissues()
    other_image, other_brain = moved(torch.cat([image * brain, brain], dim=1), grid, affine).split(1, dim=1)
    weight = brain * other_brain
    difference = (image * other_brain - other_image) * brain
    sigma = SIGMA_MM / grid.mean_spacing
    weight, difference = smooth(torch.cat([weight, difference], dim=1), sigma).split(1, dim=1)
    average = torch.where(weight > MIN_BRAIN, difference / weight, 0.0)[0, 0].abs()
    index = np.unravel_index(int(average.argmax()), grid.shape)
    contrast = max(LEAST_CONTRAST, float(tissues.max() - tissues.min()))
    return Asymmetry(float(average.max()) / contrast, Affine(grid.matrix).apply(np.array([index], dtype=float))[0])


def _in_words(position: np.ndarray) -> str:
    """Return a position as Slicer shows it, such as ``R 32, A 10, S 5 mm``."""
    parts = [f"{letters[int(value < 0)]} {abs(value):.0f}" for value, letters in zip(position, LETTERS, strict=True)]
    return ", ".join(parts) + " mm"
