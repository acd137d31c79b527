"""The brain as a whole, from a label map: a mask of it, and the image without all else."""

from __future__ import annotations

import math

import SimpleITK as sitk

# Gaps between labels up to twice this, such as vessels and thin sulci, belong to the brain.
CLOSING_MM = 3.0


def brain_mask(labels: sitk.Image) -> sitk.Image:
    """Return 1 in the brain with the CSF in and around it, 0 elsewhere.

    :param labels: label map from :func:`SLSFGRLib.segment`.
    :returns: on the same grid, unsigned 8-bit.
    """
    radius = [math.ceil(CLOSING_MM / spacing) for spacing in labels.GetSpacing()]
    # Room, since closing takes the image's border for background.
    mask = sitk.ConstantPad(sitk.Cast(labels > 0, sitk.sitkUInt8), radius, radius, 0)
    mask = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(mask, radius))
    return sitk.Crop(mask, radius, radius)


def brain_alone(image: sitk.Image, labels: sitk.Image) -> sitk.Image:
    """Return an image with zero outside the brain, in its own pixel type.

    :param labels: its label map, on the same grid.
    """
    mask = brain_mask(labels)
    mask.CopyInformation(image)
    return sitk.Mask(image, mask)
