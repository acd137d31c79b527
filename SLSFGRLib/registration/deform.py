"""Deform one brain to another: the second stage of a registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .channels import INTENSITY, ChannelImage
from .field_optimisation import Level
from .intensity_mapping import optimise_across_contrasts
from .other_side import with_other_side
from .template import GUIDED_SPACING, MIN_LNCC_RATIO, TissueAtlas, guide_by_template

# The fraction of the progress bar for the coarse levels and the template step, as measured in `standard`.
COARSE_PROGRESS = 0.3
# A start by a network has details that a field via the template lacks, so that its similarity is higher: 0.82 and 0.84
# were measured on two pairs of brains. Chosen.
MIN_LNCC_RATIO_OF_START = 0.6


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
    segmented. Contrasts are matched if needed. If a template is given, it guides the start, or without one the field
    after the coarse levels. A lesion is replaced by the other side of its brain.

    :param affine: fixed points to moving points.
    :param start: a field to begin with, on any grid over the box of the fixed brain.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid; ``warped(x) = moving(affine(x + u(x)))``.
    """
    fixed, moving = with_other_side(fixed), with_other_side(moving)
    tissues = uses_tissues(fixed, moving, levels)
    images = (ChannelImage.from_subject(fixed, tissues), ChannelImage.from_subject(moving, tissues))
    coarse = tuple(level for level in levels if level.spacing >= GUIDED_SPACING)
    if template is None or not tissues or (start is None and not coarse):
        return optimise_across_contrasts(*images, affine, levels, start, update)
    done, min_ratio = 0.0, MIN_LNCC_RATIO_OF_START
    if start is None:
        done, min_ratio = COARSE_PROGRESS, MIN_LNCC_RATIO
        start = optimise_across_contrasts(*images, affine, coarse, update=lambda fraction: update(done * fraction))
        levels = levels[len(coarse) :]
    start = guide_by_template(start, fixed, moving, affine, template, min_ratio)
    if not levels:
        return start
    return optimise_across_contrasts(
        *images, affine, levels, start, lambda fraction: update(done + (1.0 - done) * fraction)
    )


def uses_tissues(fixed: Subject, moving: Subject, levels: Sequence[Level]) -> bool:
    """Return whether tissue probability maps take part: a level names them, and both brains are segmented."""
    return are_segmented(fixed, moving) and any(set(level.weights) != {INTENSITY} for level in levels)


def are_alike(fixed: Subject, moving: Subject) -> bool:
    """Return whether the tissues of two segmented brains have the same order of intensities, or the opposite one.

    Then one intensity follows from the other, as in T1 and T2. In FLAIR and PD, GM is the brightest: beside a T1 image
    the relation at the border of GM and WM has another sign than at that of GM and CSF.
    """
    orders = [subject.segmentation.intensity_model.tissue_order for subject in (fixed, moving)]
    return orders[0] in (orders[1], orders[1][::-1])
