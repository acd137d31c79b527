"""Align two brains by an affine transform: the first stage of a registration."""

from __future__ import annotations

from functools import partial

import numpy as np
import SimpleITK as sitk

from ..evaluation.metrics import dice_by_label
from ..segmentation.centroids import align_centroids
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .affine_optimisation import LAST_REFINEMENT, optimise_affine

# An alignment with a smaller mean Dice of the structures has failed. Chosen: two brains that lie well have 0.5 to 0.7.
MIN_DICE = 0.35
# Where shadows or missing slices spoil the images' similarity, the refinement lowers the Dice by more than this.
MAX_DICE_DROP = 0.1


def align(fixed: Subject, moving: Subject, start: Affine | None = None, use_centroids: bool = True) -> Affine:
    """Find the affine transform of fixed points to moving points.

    It starts at the structures' centroids. If these fail, or without segmentations, 27 rotations are tried.

    :param start: a transform to refine instead.
    :param use_centroids: whether segmentations may be used.
    """
    # With 3 mm of its surroundings a head ended 2 to 3 mm from its skull-stripped copy, alone 1 mm:
    # docs/develop/experiments.md.
    images = fixed.brain_alone, moving.brain_alone
    if start is not None or not (use_centroids and are_segmented(fixed, moving)):
        return optimise_affine(*images, start)
    start = align_centroids(fixed.segmentation.structures, moving.segmentation.structures)
    if start is None:
        return optimise_affine(*images)
    refined = optimise_affine(*images, start, LAST_REFINEMENT)
    dice = partial(structure_dice, fixed, moving)
    before, after = dice(start), dice(refined)
    best, overlap = (start, before) if after < before - MAX_DICE_DROP else (refined, after)
    if overlap >= MIN_DICE:
        return best
    # The images as they are stored may lie better than anything that was found.
    return max((best, optimise_affine(*images), Affine.identity()), key=dice)


def structure_dice(fixed: Subject, moving: Subject, transform: sitk.Transform | Affine) -> float:
    """Return the mean Dice of the structures of two segmented brains at 2 mm, from 0 to 1.

    :param transform: fixed points to moving points, LPS mm.
    """
    transform = transform.to_itk() if isinstance(transform, Affine) else transform
    warped = sitk.Resample(moving.coarse_labels, fixed.coarse_labels, transform, sitk.sitkNearestNeighbor, 0)
    scores = dice_by_label(*(sitk.GetArrayViewFromImage(labels) for labels in (fixed.coarse_labels, warped)))
    return float(np.mean(list(scores.values()))) if scores else 0.0
