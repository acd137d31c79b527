"""Resample an image onto the grid of another."""

from __future__ import annotations

import SimpleITK as sitk

# The names that the command gives them. The window of the sinc is Lanczos'.
INTERPOLATORS = {
    "linear": sitk.sitkLinear,
    "nearest": sitk.sitkNearestNeighbor,
    "bspline": sitk.sitkBSpline,
    "sinc": sitk.sitkLanczosWindowedSinc,
}


def resample_image(
    image: sitk.Image, reference: sitk.Image, transform: sitk.Transform, interpolation: str = "linear"
) -> sitk.Image:
    """Resample an image onto the grid of another, in its own pixel type.

    Voxels outside the image get its smallest value. Where an interpolation goes beyond the pixel type, it is clipped.

    :param transform: points of ``reference`` to points of ``image``.
    :param interpolation: one of :data:`INTERPOLATORS`.
    """
    outside = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(image, reference, transform, INTERPOLATORS[interpolation], outside, image.GetPixelID())
