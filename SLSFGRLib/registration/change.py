"""Tell how far a head has changed between two scans that a rigid transform has aligned."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import vector_norms
from .channels import ChannelImage
from .evidence import gained_information, head_of, supported
from .field_optimisation import Level, optimise_field
from .intensity_mapping import match_contrast
from .quality import brain_mask

# For this deformation the limits of the choice were found.
LEVEL = Level(spacing=4.0, iterations=30, field_sigma=1.5)
# The displacement that all but so much of the brain stays below.
QUANTILE = 0.99


@dataclass(frozen=True)
class Change:
    """What a deformation at 4 mm finds between two scans of one head.

    :param gain: how much more the images tell about each other with it, on average over the head.
    :param displacement_mm: of the brain, at most, as far as the images support it; 1 % may lie above.
    """

    gain: float
    displacement_mm: float


@torch.no_grad()
def change_between(fixed: Subject, moving: Subject, pose: Affine) -> Change:
    """Deform coarsely and return what that explains.

    :param pose: rigid, fixed points to moving points.
    """
    images = ChannelImage.from_subject(fixed), ChannelImage.from_subject(moving)
    matched = match_contrast(*images, pose) or images
    field = optimise_field(*matched, pose, [LEVEL])
    gain = gained_information(field, *matched, pose)
    kept = supported(field, gain, matched[0])
    in_head = gain[head_of(matched[0])]
    distances = vector_norms(kept)[0][brain_mask(fixed, kept.shape[2:])]
    spacing = fixed.grid.resized(kept.shape[2:]).mean_spacing
    return Change(float(in_head.mean()) if len(in_head) else 0.0, spacing * _quantile(distances))


def _quantile(values: torch.Tensor) -> float:
    if not len(values):
        return 0.0
    return float(values.kthvalue(max(1, round(QUANTILE * len(values))))[0])
