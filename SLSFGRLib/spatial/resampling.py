"""Resample an image onto the grid of another."""

from __future__ import annotations

import SimpleITK as sitk


def resample_image(image: sitk.Image, reference: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """An image on the grid of another, in its own pixel type; linear, the image's smallest value outside.

    :param transform: points of ``reference`` to points of ``image``.
    """
    outside = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(image, reference, transform, sitk.sitkLinear, outside, image.GetPixelID())
