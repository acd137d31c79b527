"""Choose the kind of transform: rigid for two scans of one head, a deformation for two people.

After a rigid registration, where small blocks fit best distinguishes the two. In two scans of one head, whatever
their contrasts, most blocks fit where they are; in two people most fit better a few millimetres away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from ..losses.lncc import local_correlation
from ..modes import AUTO, DEFORMABLE, RIGID
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from ..spatial.fields import downsample
from ..spatial.warping import AffineWarper
from .rigid import rough_pose

# Spacing in mm of the blocks' voxels, which is how far they are shifted, and half the edge of a block in voxels.
SPACING, RADIUS = 4.0, 2
# Voxels with less intensity are air; blocks that correlate less wherever they are say nothing.
HEAD_INTENSITY, MIN_CORRELATION = 0.05, 0.3
# Of the blocks, so many fit where they are in two scans of one head. Measured on real heads: 0.24 to 0.94 for one
# patient, at most 0.15 for two people (docs/methods/rigid.md).
ONE_HEAD = 0.19
CHOSEN = "you chose it."
SAME = "the images show one head: after a rigid registration {:.0%} of the places fit where they are."
DIFFERENT = "the images show two people: after a rigid registration only {:.0%} of the places fit where they are."
# What to say where the user has chosen otherwise.
RIGID_INSTEAD = (
    "The images seem to show one head, and a deformation hides what has changed; --transform rigid deforms nothing."
)
DEFORMABLE_INSTEAD = (
    "The images seem to show two people, or a brain that has changed much; --transform deformable matches their shapes."
)


@dataclass(frozen=True)
class Choice:
    """The kind of transform to find.

    :param transform: ``rigid``, ``affine`` or ``deformable``.
    :param reason: one sentence, without a capital letter.
    :param warning: a sentence for the notes if the images contradict what the user has chosen, or empty.
    :param pose: a rough rigid transform of fixed points to moving points, if it is known.
    """

    transform: str
    reason: str
    warning: str = ""
    pose: Affine | None = None


def choose(
    fixed: Subject, moving: Subject, wanted: str, start: Affine | None = None, is_deformation_wanted: bool = False
) -> Choice:
    """Choose by the images unless the user has chosen; in that case, only check the choice.

    :param wanted: one of :data:`SLSFGRLib.modes.TRANSFORMS`.
    :param start: fixed points to moving points, where the user knows it.
    :param is_deformation_wanted: what else the user has chosen has a meaning only for a deformation.
    """
    if is_deformation_wanted:
        return Choice(DEFORMABLE, "you chose a model or no affine registration." if wanted == AUTO else CHOSEN)
    if wanted != AUTO and not are_segmented(fixed, moving):
        # Without a start from the structures the check would take longer than the registration.
        return Choice(wanted, CHOSEN)
    pose = rough_pose(fixed, moving, start)
    fraction = matched_fraction(fixed, moving, pose)
    is_one_head = fraction > ONE_HEAD
    if wanted == AUTO:
        reason = (SAME if is_one_head else DIFFERENT).format(fraction)
        return Choice(RIGID if is_one_head else DEFORMABLE, reason, pose=pose)
    warning = ""
    if is_one_head == (wanted == DEFORMABLE):
        warning = RIGID_INSTEAD if is_one_head else DEFORMABLE_INSTEAD
    return Choice(wanted, CHOSEN, warning, pose)


@torch.no_grad()
def matched_fraction(fixed: Subject, moving: Subject, pose: Affine) -> float:
    """Return the fraction of blocks in the fixed head that fit better where they are than one voxel of 4 mm away.

    :param pose: rigid, fixed points to moving points.
    """
    factor = max(1, round(SPACING / fixed.grid.mean_spacing))
    target = downsample(fixed.prepared.tensor, factor)
    matrix = pose.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.prepared.tensor, matrix, fixed.grid.shape, factor)
    warped = warper(target.new_zeros(1, 3, *target.shape[2:]))
    last = target.new_tensor(moving.grid.shape).view(1, 3, 1, 1, 1) - 1.0
    inside = ((warper.positions >= 0) & (warper.positions <= last)).all(dim=1)[0]
    here = local_correlation(warped, target, RADIUS)
    elsewhere = torch.zeros_like(here)
    for shift in product((-1, 0, 1), repeat=3):
        if any(shift):
            shifted = torch.roll(warped, shift, dims=(2, 3, 4))
            elsewhere = torch.maximum(elsewhere, local_correlation(shifted, target, RADIUS))
    for weights in _weights(fixed, moving, matrix, factor):
        inside = inside & (weights[0, 0] > 0.5)
    telling = inside & (target[0, 0] > HEAD_INTENSITY) & (torch.maximum(here, elsewhere)[0, 0] > MIN_CORRELATION)
    return float((here > elsewhere)[0, 0][telling].float().mean()) if telling.any() else 0.0


def _weights(fixed: Subject, moving: Subject, matrix: np.ndarray, factor: int) -> Iterator[torch.Tensor]:
    """Yield the weights of both images' voxels that are not all 1, on the fixed grid."""
    if fixed.compared is not None:
        yield downsample(fixed.compared, factor)
    if moving.compared is not None:
        shape = [size // factor for size in fixed.grid.shape]
        warper = AffineWarper(moving.compared, matrix, fixed.grid.shape, factor)
        yield warper(moving.compared.new_zeros(1, 3, *shape))
