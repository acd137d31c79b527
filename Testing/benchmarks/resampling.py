"""Resample an image to cubic voxels over the same box of space: ``python resampling.py INPUT OUTPUT SPACING``."""

from __future__ import annotations

import sys

import numpy as np
import SimpleITK as sitk


def resampled(image: sitk.Image, spacing: float) -> sitk.Image:
    """The image on a grid with this spacing in mm, blurred first where the new voxels are larger."""
    old_spacing, old_size = np.asarray(image.GetSpacing()), np.asarray(image.GetSize())
    size = np.maximum(1, np.rint(old_size * old_spacing / spacing)).astype(int)
    first = image.TransformContinuousIndexToPhysicalPoint(((spacing / old_spacing - 1.0) / 2.0).tolist())
    if spacing > old_spacing.min():
        image = sitk.DiscreteGaussian(image, (0.35 * spacing) ** 2)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(
        image, size.tolist(), identity, sitk.sitkLinear, first, [spacing] * 3, image.GetDirection(), 0.0
    )


def main() -> None:
    """Convert one file."""
    source, destination, spacing = sys.argv[1:]
    image = sitk.ReadImage(source, sitk.sitkFloat32)
    sitk.WriteImage(resampled(image, float(spacing)), destination)


if __name__ == "__main__":
    main()
