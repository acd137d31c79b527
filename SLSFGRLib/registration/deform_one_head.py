"""Deform one scan of a head to another scan of it: for growth, shrinkage, surgery or distortions of the scanner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from .channels import ChannelImage
from .evidence import gained_information, supported
from .field_optimisation import Level, optimise_field
from .intensity_mapping import match_contrast


@torch.no_grad()
def deform_one_head(
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    levels: Sequence[Level],
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Find the field that, followed by a rigid transform, brings one scan of a head to another.

    The intensities alone are compared, contrasts matched if needed: tissue probability maps and the template, which
    find the corresponding fold of another brain, are less exact than the images of one head. After each level only
    what the images support is kept.

    :param affine: fixed points to moving points.
    :param update: called with the fraction done.
    :returns: (1, 3, d, h, w) in voxels of the last level's grid; ``warped(x) = moving(affine(x + u(x)))``.
    """
    images = ChannelImage.from_subject(fixed), ChannelImage.from_subject(moving)
    work = [level.iterations * level.factor(fixed.grid) ** -3 for level in levels]
    field: torch.Tensor | None = None
    for number, level in enumerate(levels):
        before = sum(work[:number])
        matched = match_contrast(*images, affine, field) or images
        field = optimise_field(
            *matched,
            affine,
            (level,),
            field,
            lambda fraction, before=before, own=work[number]: update((before + own * fraction) / sum(work)),
        )
        field = supported(field, gained_information(field, *matched, affine), matched[0])
    return field
