"""Deform one brain to another: the second stage of a registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .channels import INTENSITY, ChannelImage
from .field_optimisation import Level, optimise_field
from .intensity_mapping import correlation_ratio, match_contrast, optimise_across_contrasts
from .other_side import with_other_side
from .schedules import COARSE_SPACING, across_contrasts
from .template import MIN_LNCC_RATIO, TissueAtlas, guide_by_template

# The fraction of the progress bar for the coarse levels and the template step, as measured in `standard`.
COARSE_PROGRESS = 0.3
# From this downsampling factor on, averages of 2 x 2 x 2 voxels stand for the voxels: an eighth of them to average.
MIN_AVERAGED_FACTOR = 4
# A start by a network has details that a field via the template lacks, so that its similarity is higher: 0.82 and 0.84
# were measured on two pairs of brains. Chosen.
MIN_LNCC_RATIO_OF_START = 0.6
# Up to the first correlation ratio of two contrasts in the brain nothing is certain about their intensities, from the
# second on all. Chosen: real T1 and T2 have 0.56 to 0.72, rendered ones 0.76 to 0.85, a T1 and a T2-like image that was
# computed from a T1 0.87 (docs/develop/experiments.md).
CERTAIN_RATIO = 0.65, 0.87


@torch.no_grad()
def deform(
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    levels: Sequence[Level],
    start: torch.Tensor | None = None,
    template: TissueAtlas | None = None,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Find the field that, followed by an affine transform, brings the moving brain to the fixed one.

    The intensities are compared. So are the tissue probability maps of segmented brains, where a level says so, and at
    every level unless both images show T1. Contrasts are matched if needed. If a template is given, it guides the
    start, or without one the field after the coarse levels. A lesion is replaced by the other side of its brain.

    :param affine: fixed points to moving points.
    :param levels: as planned for two T1 images.
    :param start: a field to begin with, on any grid over the box of the fixed brain.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid; ``warped(x) = moving(affine(x + u(x)))``.
    """
    subjects = with_other_side(fixed), with_other_side(moving)
    is_t1 = show_t1(fixed, moving)
    compared = levels if is_t1 else across_contrasts(levels)
    done, min_ratio = 0.0, MIN_LNCC_RATIO_OF_START
    if start is None:
        coarse = tuple(level for level in compared if level.spacing >= COARSE_SPACING)
        levels = levels[len(coarse) :]
        if coarse:
            done, min_ratio = COARSE_PROGRESS, MIN_LNCC_RATIO
            images = _channels(subjects, coarse)
            start = optimise_across_contrasts(*images, affine, coarse, update=lambda fraction: update(done * fraction))
    if start is not None and template is not None and uses_tissues(fixed, moving, compared):
        start = guide_by_template(start, *subjects, affine, template, min_ratio)
    if not levels:
        return start
    images = _channels(subjects, compared[-len(levels) :])
    optimise = optimise_across_contrasts if is_t1 else _optimise_by_certainty
    return optimise(*images, affine, levels, start, lambda fraction: update(done + (1.0 - done) * fraction))


def _channels(subjects: tuple[Subject, Subject], levels: Sequence[Level]) -> tuple[ChannelImage, ChannelImage]:
    """Return what some levels compare; coarse levels need no finer voxels than a quarter of theirs."""
    tissues = uses_tissues(*subjects, levels)
    if all(level.factor(subjects[0].grid) >= MIN_AVERAGED_FACTOR for level in levels):
        subjects = tuple(subject.averaged for subject in subjects)
    return tuple(ChannelImage.from_subject(subject, tissues) for subject in subjects)


def _optimise_by_certainty(
    fixed: ChannelImage,
    moving: ChannelImage,
    affine: Affine,
    levels: Sequence[Level],
    start: torch.Tensor | None,
    update: Callable[[float], None],
) -> torch.Tensor:
    """Optimise a field at fine levels, where intensities count as far as those of one image tell those of the other.

    :param levels: as planned for two T1 images.
    """
    work = [level.iterations * level.spacing**-3 for level in levels]
    matched = match_contrast(fixed, moving, affine, start) or (fixed, moving)
    for number, level in enumerate(levels):
        before, own = sum(work[:number]) / sum(work), work[number] / sum(work)
        certainty = 0.0 if start is None else _certainty(correlation_ratio(fixed, moving, affine, start, level.spacing))
        start = optimise_field(
            *matched,
            affine,
            across_contrasts([level], certainty),
            start,
            lambda fraction, before=before, own=own: update(before + own * fraction),
        )
    return start


def _certainty(ratio: float) -> float:
    low, high = CERTAIN_RATIO
    return min(1.0, max(0.0, (ratio - low) / (high - low)))


def uses_tissues(fixed: Subject, moving: Subject, levels: Sequence[Level]) -> bool:
    """Return whether tissue probability maps take part: a level names them, and both brains are segmented."""
    return are_segmented(fixed, moving) and any(set(level.weights) != {INTENSITY} for level in levels)


def show_t1(fixed: Subject, moving: Subject) -> bool:
    """Return whether both brains have the order of intensities of T1, or a brain is not segmented.

    In T1 images CSF is dark and WM is bright. Other contrasts show less of what two people have in common, even if
    both images have the same one.
    """
    if not are_segmented(fixed, moving):
        return True
    return all(subject.segmentation.intensity_model.has_t1_order for subject in (fixed, moving))
