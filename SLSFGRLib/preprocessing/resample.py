"""Resample an image to a working spacing."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .head_box import ROUNDING

# A spacing within this fraction of the wanted one is kept: interpolation would only blur.
SPACING_TOLERANCE = 0.15
# Resampling to a spacing larger by this factor would alias: the image is smoothed first, by this many new voxels.
ALIASING_FACTOR, ALIASING_SIGMA = 1.4, 0.4


def resampled(image: sitk.Image, spacing: float) -> sitk.Image:
    """Resample the axes whose spacing differs much from the wanted one."""
    old = np.asarray(image.GetSpacing())
    new = np.where(np.abs(old / spacing - 1.0) < SPACING_TOLERANCE, old, spacing)
    if np.array_equal(old, new):
        return image
    for axis in np.flatnonzero(new > ALIASING_FACTOR * old):
        image = sitk.RecursiveGaussian(image, sigma=float(ALIASING_SIGMA * new[axis]), direction=int(axis))
    size = np.asarray(image.GetSize())
    count = np.maximum(1, np.ceil(size * old / new - ROUNDING)).astype(int)
    shift = np.asarray(image.GetDirection()).reshape(3, 3) @ ((new - old) / 2.0)
    origin = np.asarray(image.GetOrigin()) + shift
    return sitk.Resample(
        image,
        [int(number) for number in count],
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        new.tolist(),
        image.GetDirection(),
        float(sitk.GetArrayViewFromImage(image).min()),
        sitk.sitkFloat32,
        True,
    )


def block_averaged(image: sitk.Image, spacing: float) -> sitk.Image:
    """Average blocks of whole voxels so that their spacing comes near to the wanted one; axes that are coarser stay."""
    factors = np.maximum(1, np.round(spacing / np.asarray(image.GetSpacing()))).astype(int)
    factors = np.minimum(factors, image.GetSize())
    image = sitk.Cast(image, sitk.sitkFloat32)
    return sitk.BinShrink(image, factors.tolist()) if factors.max() > 1 else image
