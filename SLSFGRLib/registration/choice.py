"""Choose the kind of transform: rigid for two scans of one head, a deformation for two people."""

from __future__ import annotations

from dataclasses import dataclass

from ..modes import AUTO, DEFORMABLE, RIGID
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .one_head import gain_over_mirror_image
from .rigid import rough_pose

# Two images with more gain over the mirror image show one head. Chosen on the nine hardest of 80 pairs: two people had
# at most 1.09, one head at least 1.26 (docs/methods/rigid.md).
ONE_HEAD = 1.17
CHOSEN = "you chose it."
SAME = (
    "the images show one head: after a rigid registration they tell {:.2f} times as much about each other as mirrored."
)
DIFFERENT = (
    "the images show two people: after a rigid registration they tell only {:.2f} times as much about each other as "
    "mirrored."
)
# What to say where the user has chosen otherwise.
RIGID_INSTEAD = (
    "The images seem to show one head, and a deformation hides what has changed; a rigid transform deforms nothing."
)
DEFORMABLE_INSTEAD = (
    "The images seem to show two people, or a brain that has changed much; a deformable transform matches their shapes."
)


@dataclass(frozen=True)
class Choice:
    """The kind of transform to find.

    :param transform: ``rigid``, ``affine`` or ``deformable``.
    :param reason: one sentence, without a capital letter.
    :param warning: a sentence for the notes if the images contradict what the user has chosen, or empty.
    :param pose: a rough rigid transform of fixed points to moving points, if it is known.
    :param is_one_head: whether the images show one head, as far as that is known.
    """

    transform: str
    reason: str
    warning: str = ""
    pose: Affine | None = None
    is_one_head: bool = False


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
    if wanted == DEFORMABLE and not are_segmented(fixed, moving):
        # A rough pose, which the deformation does not need, would have to be searched.
        return Choice(wanted, CHOSEN)
    pose = rough_pose(fixed, moving, start)
    gain = gain_over_mirror_image(fixed, moving, pose)
    is_one_head = gain > ONE_HEAD
    if wanted == AUTO:
        reason = (SAME if is_one_head else DIFFERENT).format(gain)
        return Choice(RIGID if is_one_head else DEFORMABLE, reason, pose=pose, is_one_head=is_one_head)
    warning = ""
    if is_one_head == (wanted == DEFORMABLE):
        warning = RIGID_INSTEAD if is_one_head else DEFORMABLE_INSTEAD
    return Choice(wanted, CHOSEN, warning, pose, is_one_head)
