"""The settings of image synthesis, which are a section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Synthesis:
    """The distributions that synthetic images are drawn from; a ``..._chance`` is a probability from 0 to 1.

    :param rotation_degrees: largest rotation about each axis.
    :param large_rotation_degrees: likewise, for a few images with a strongly tilted head.
    :param large_rotation_chance: how often an image is one of those.
    :param any_pose_chance: the head is turned any way, even upside down.
    :param scale: largest relative change of length along each axis.
    :param shear: largest shear of each axis along each other.
    :param shift_mm: largest shift along each axis.
    :param deformation_mm: largest velocity of the random diffeomorphism; each image draws its own limit.
    :param flip_chance: left and right are swapped, in the image and in the labels.
    :param t1_share: share of images with T1 contrast; shares are relative to their sum.
    :param t2_share: likewise, T2.
    :param pd_share: likewise, proton density.
    :param flair_share: likewise, FLAIR.
    :param random_share: likewise, random contrast: each structure draws its own intensity.
    :param ultrasound_share: likewise, ultrasound of the exposed brain, with speckle and shadows.
    :param ct_share: likewise, computed tomography.
    :param contrast_jitter: standard deviation of a tissue's intensity around its typical value; bright tissue has 1.
    :param fluid_spread: how much the intensity of fluid varies beyond this, which depends on echo and inversion time; 1
        spans what scanners give.
    :param texture: largest variation within a structure, relative to what is typical of its tissue.
    :param bias: largest relative change of the intensity by the bias field.
    :param blur_mm: largest standard deviation of a Gaussian blur; the smallest is a quarter of it.
    :param slice_chance: the image has a larger slice thickness along one of its axes.
    :param slice_mm: largest slice thickness.
    :param noise: largest standard deviation of the noise; bright tissue has 1.
    :param cut_chance: one end of the field of view is missing.
    :param cut_mm: largest part of the head that is missing.
    :param strip_chance: the image is skull-stripped, with or without the CSF around the brain.
    :param strip_mm: largest error of skull-stripping.
    :param fade_chance: an image with its skull fades out around the brain, as preparation lets it.
    :param outside_chance: tissues outside the brain are divided, and their parts get intensities of their own.
    :param lesion_chance: a part of the brain has another intensity; its labels stay.
    :param fall_off_chance: the signal falls off towards one end of the head, as at the end of a coil.
    :param wrap_chance: the head is wrapped around along one axis.
    :param erased_chance: a part of the head outside the brain is erased, as when faces are removed.
    :param absent_chance: there is no brain in the image, but the neck below it.
    :param object_chance: there is no head in the image, but some object.
    :param gamma: largest change of the logarithm of the exponent of the intensities.
    :param same_anatomy_chance: both images of a pair are made from one label map, deformed twice.
    :param same_contrast_chance: both images of a pair have the same contrast.
    :param unlike_contrasts: if the contrasts of a pair differ, they are of two kinds, never T1 and T1.
    :param pair_rotation_degrees: largest rotation of each image of a pair that an affine registration has left.
    :param pair_scale: likewise, relative change of length, and shear.
    :param pair_shift_mm: likewise, shift.
    """

    rotation_degrees: float = 20.0
    large_rotation_degrees: float = 45.0
    large_rotation_chance: float = 0.15
    any_pose_chance: float = 0.0
    scale: float = 0.15
    shear: float = 0.05
    shift_mm: float = 10.0
    deformation_mm: float = 10.0
    flip_chance: float = 0.5
    t1_share: float = 0.35
    t2_share: float = 0.12
    pd_share: float = 0.08
    flair_share: float = 0.1
    random_share: float = 0.35
    ultrasound_share: float = 0.0
    ct_share: float = 0.0
    contrast_jitter: float = 0.06
    fluid_spread: float = 0.0
    texture: float = 1.0
    bias: float = 0.4
    blur_mm: float = 1.6
    slice_chance: float = 0.35
    slice_mm: float = 6.0
    noise: float = 0.08
    cut_chance: float = 0.2
    cut_mm: float = 60.0
    strip_chance: float = 0.5
    strip_mm: float = 2.0
    fade_chance: float = 0.0
    outside_chance: float = 0.0
    lesion_chance: float = 0.0
    fall_off_chance: float = 0.0
    wrap_chance: float = 0.0
    erased_chance: float = 0.0
    absent_chance: float = 0.0
    object_chance: float = 0.0
    gamma: float = 0.35
    same_anatomy_chance: float = 0.2
    same_contrast_chance: float = 0.5
    unlike_contrasts: bool = False
    pair_rotation_degrees: float = 3.0
    pair_scale: float = 0.03
    pair_shift_mm: float = 2.0
