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
from .template import GUIDED_SPACING, MIN_LNCC_RATIO, TissueAtlas, guide_by_template

# The fraction of the progress bar for the coarse levels and the template step, as measured in `standard`.
COARSE_PROGRESS = 0.3
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

    The intensities are compared. So are the tissue probability maps, where a level says so and both brains are
    segmented, and between contrasts at every level. Contrasts are matched if needed. If a template is given, it guides
    the start, or without one the field after the coarse levels. A lesion is replaced by the other side of its brain.

    :param affine: fixed points to moving points.
    :param levels: as planned for one contrast.
    :param start: a field to begin with, on any grid over the box of the fixed brain.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid; ``warped(x) = moving(affine(x + u(x)))``.
    """
    fixed, moving = with_other_side(fixed), with_other_side(moving)
    is_one_contrast = share_contrast(fixed, moving)
    compared = levels if is_one_contrast else across_contrasts(levels)
    tissues = uses_tissues(fixed, moving, compared)
    images = (ChannelImage.from_subject(fixed, tissues), ChannelImage.from_subject(moving, tissues))
    coarse = () if start is not None else tuple(level for level in compared if level.spacing >= GUIDED_SPACING)
    done = 0.0
    if template is not None and tissues and (coarse or start is not None):
        min_ratio = MIN_LNCC_RATIO_OF_START
        if coarse:
            done, min_ratio = COARSE_PROGRESS, MIN_LNCC_RATIO
            start = optimise_across_contrasts(*images, affine, coarse, update=lambda fraction: update(done * fraction))
        start = guide_by_template(start, fixed, moving, affine, template, min_ratio)
        levels = levels[len(coarse) :]
    if not levels:
        return start
    optimise = optimise_across_contrasts if is_one_contrast else _optimise_by_certainty
    return optimise(*images, affine, levels, start, lambda fraction: update(done + (1.0 - done) * fraction))


def _optimise_by_certainty(
    fixed: ChannelImage,
    moving: ChannelImage,
    affine: Affine,
    levels: Sequence[Level],
    start: torch.Tensor | None,
    update: Callable[[float], None],
) -> torch.Tensor:
    """Optimise a field between contrasts; at the fine levels intensities count as far as one tells the other.

    :param levels: as planned for one contrast.
    """
    coarse = tuple(level for level in levels if level.spacing >= COARSE_SPACING)
    work = [level.iterations * level.spacing**-3 for level in levels]
    if coarse:
        share = sum(work[: len(coarse)]) / sum(work)
        start = optimise_across_contrasts(
            fixed, moving, affine, across_contrasts(coarse), start, lambda fraction: update(share * fraction)
        )
    if len(coarse) == len(levels):
        return start
    matched = match_contrast(fixed, moving, affine, start) or (fixed, moving)
    for number, level in enumerate(levels[len(coarse) :], len(coarse)):
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


def share_contrast(fixed: Subject, moving: Subject) -> bool:
    """Return whether the tissues of two brains have the same order of intensities, or a brain is not segmented.

    In T1 and T2 the order is the opposite one; in FLAIR and PD, GM is the brightest.
    """
    if not are_segmented(fixed, moving):
        return True
    orders = [subject.segmentation.intensity_model.tissue_order for subject in (fixed, moving)]
    return orders[0] == orders[1]
