"""Resample an image onto the grid of another."""

from __future__ import annotations

import SimpleITK as sitk


def resample_image(image: sitk.Image, reference: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """Resample an image linearly onto the grid of another, in its own pixel type.

    Voxels outside the image get its smallest value.

    :param transform: points of ``reference`` to points of ``image``.
    """
    outside = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(image, reference, transform, sitk.sitkLinear, outside, image.GetPixelID())
