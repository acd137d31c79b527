"""Choose the kind of transform: rigid for two scans of one head, a deformation for two people."""

from __future__ import annotations

from dataclasses import dataclass

from ..modes import AUTO, DEFORMABLE, RIGID
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .change import change_between
from .one_head import MirrorComparison, compare_exactly, compare_with_mirror_image
from .rigid import rough_pose
from .two_people import structures_show_two_people

# Two images with more gain over the mirror image show one head, if they also tell so much more than mirrored: where
# images tell little about each other, their ratio is uncertain. Exactly compared, two people had at most 1.24, one head
# at least 1.29 and 0.10 (docs/methods/rigid.md).
ONE_HEAD = 1.26
ONE_HEAD_INFORMATION = 0.07
# Images that tell more about each other than any two people's, at most 0.64, show one head with less gain, too: a
# nearly symmetric head fits its mirror image well. Heads in one contrast, deformed by 8 mm all over, told at least 0.88
# and had at least 1.21.
MUCH_INFORMATION, LEAST_GAIN = 0.8, 1.17
# In a rough pose two people had up to 1.24, too. With more, no exact comparison is needed. Chosen.
CLEARLY_ONE_HEAD = 1.3
# Below this gain and that difference a rough pose shows two people, if the images tell enough in it. One head that is
# deformed all over had less gain once, but 0.10 more; T1 and T2 of another one had less of both, but told only 0.19
# (docs/methods/rigid.md).
TWO_PEOPLE = 1.12, 0.08
# The pose of the headers is near the right one with more. Scans of one head had at least 1.23 there, and images that
# lie elsewhere at most 1.02 where they told enough (docs/develop/experiments.md).
HEADERS_FIT = 1.17
# Two images with less information about each other do not show whether they are of one head. T1 and CT have 0.05 to
# 0.07, whether of one head or of two; two people of unlike size in unlike contrasts 0.03 or more
# (docs/develop/experiments.md).
MIN_INFORMATION = 0.1
# Where images tell less, as in most wrong poses, the gain means nothing. Near the right pose those of one head told at
# least 0.41, except for CT (docs/develop/experiments.md).
CONFIRMING_INFORMATION = 0.3
# A deformation at 4 mm with more gain is not a change of some places: the head is deformed as a whole. 31 pairs of real
# scans of one head gained -0.19 to 0.09, heads deformed by 8 mm 0.37 to 1.5 (docs/develop/experiments.md).
DEFORMED_HEAD = 0.25
# From this displacement in mm on, a change is worth a note.
NOTED_CHANGE_MM = 3.0
CHOSEN = "you chose it."
SAME = "the images show one head: aligned, they fit {:.2f} times as well as with one of them mirrored."
DEFORMED = (
    "the images show one head, but all of it is deformed, by up to {:.0f} mm: a rigid transform does not suffice."
)
DIFFERENT = "the images show two people: aligned, they fit only {:.2f} times as well as with one of them mirrored."
DIFFERENT_SIZES = (
    "the images tell too little about each other, but their structures show two people: they fit much better if one "
    "brain may be stretched."
)
UNKNOWN = (
    "the images tell too little about each other to show whether they are of one head; a rigid transform deforms "
    "nothing."
)
CHANGED = (
    "After the rigid registration parts of the brain lie up to {:.0f} mm apart: they have changed, or one image is "
    "distorted. A deformable transform follows that."
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
    :param warning: a sentence for the notes if the images contradict what the user has chosen, or a brain has changed;
        or empty.
    :param pose: a rigid transform of fixed points to moving points, exact to about a millimetre, if it is known.
    :param is_one_head: whether the images show one head, as far as that is known.
    """

    transform: str
    reason: str
    warning: str = ""
    pose: Affine | None = None
    is_one_head: bool = False


def choose(fixed: Subject, moving: Subject, wanted: str, start: Affine | None = None, implied: str = "") -> Choice:
    """Choose by the images unless the user has chosen; in that case, only check the choice.

    :param wanted: one of :data:`SLSFGRLib.modes.TRANSFORMS`.
    :param start: fixed points to moving points, where the user knows it.
    :param implied: why what else the user has chosen needs a deformation, a sentence; empty if it does not.
    """
    if implied:
        return Choice(DEFORMABLE, implied if wanted == AUTO else CHOSEN)
    if wanted == DEFORMABLE and not are_segmented(fixed, moving):
        # A rough pose, which the deformation does not need, would have to be searched.
        return Choice(wanted, CHOSEN)
    compared = _compared(fixed, moving, start, is_choice=wanted == AUTO)
    if wanted == AUTO:
        return _chosen(fixed, moving, compared)
    is_one_head, warning = _shows_one_head(compared), ""
    if compared.information > MIN_INFORMATION and is_one_head == (wanted == DEFORMABLE):
        warning = RIGID_INSTEAD if is_one_head else DEFORMABLE_INSTEAD
    return Choice(wanted, CHOSEN, warning, compared.pose, is_one_head)


def _compared(fixed: Subject, moving: Subject, start: Affine | None, is_choice: bool) -> MirrorComparison:
    """Compare two images in their best rigid pose, exactly where a rough pose does not suffice.

    :param is_choice: one head must be shown exactly; otherwise only a contradiction to the user is looked for.
    """
    found = _compared_roughly(fixed, moving, start)
    is_clear = _shows_two_people(found) or (not is_choice and _fits_better(found, CLEARLY_ONE_HEAD))
    return found if is_clear else compare_exactly(fixed, moving, found)


def _compared_roughly(fixed: Subject, moving: Subject, start: Affine | None) -> MirrorComparison:
    """Compare two images in the pose of their headers, if that shows one head, or else in a rough pose.

    Scans of one session, and most of one patient, lie nearly on each other by their headers. Where the images confirm
    that, no pose needs to be searched.
    """
    if start is None and not are_segmented(fixed, moving):
        by_headers = compare_with_mirror_image(fixed, moving, Affine.identity())
        if _fits_better(by_headers, HEADERS_FIT):
            return by_headers
    return compare_with_mirror_image(fixed, moving, rough_pose(fixed, moving, start))


def _fits_better(compared: MirrorComparison, gain: float) -> bool:
    """Return whether two images, which tell enough in a rough pose, fit so many times as well as mirrored."""
    tells_enough = compared.information > CONFIRMING_INFORMATION
    return tells_enough and compared.gain > gain and compared.difference > ONE_HEAD_INFORMATION


def _shows_two_people(compared: MirrorComparison) -> bool:
    """Return whether a comparison in a rough pose suffices."""
    gain, difference = TWO_PEOPLE
    tells_enough = compared.information > CONFIRMING_INFORMATION
    return tells_enough and compared.gain < gain and compared.difference < difference


def _shows_one_head(compared: MirrorComparison) -> bool:
    """Return whether an exact comparison shows one head."""
    if compared.information > MUCH_INFORMATION:
        return compared.gain > LEAST_GAIN
    return compared.gain > ONE_HEAD and compared.difference > ONE_HEAD_INFORMATION


def _chosen(fixed: Subject, moving: Subject, compared: MirrorComparison) -> Choice:
    """Choose by the images."""
    if compared.information < MIN_INFORMATION:
        # The pose is not known either.
        if structures_show_two_people(fixed, moving):
            return Choice(DEFORMABLE, DIFFERENT_SIZES)
        return Choice(RIGID, UNKNOWN, pose=compared.pose)
    if not _shows_one_head(compared):
        return Choice(DEFORMABLE, DIFFERENT.format(compared.gain), pose=compared.pose)
    change = change_between(fixed, moving, compared.pose)
    if change.gain > DEFORMED_HEAD:
        return Choice(DEFORMABLE, DEFORMED.format(change.displacement_mm), pose=compared.pose, is_one_head=True)
    has_changed = change.displacement_mm > NOTED_CHANGE_MM
    warning = CHANGED.format(change.displacement_mm) if has_changed else ""
    return Choice(RIGID, SAME.format(compared.gain), warning, compared.pose, is_one_head=True)
