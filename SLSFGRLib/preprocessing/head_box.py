"""Find the head in an image by its intensities."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..spatial.components import largest_component

HEAD_SEARCH_SPACING = 4.0
# The head is what exceeds this fraction of Otsu's threshold, which separates bright from dark tissue as often as head
# from air.
OTSU_FRACTION = 0.4
# Headers carry rounded numbers: a spacing of 0.9999999 must not move a box by a voxel.
ROUNDING = 1e-3


def head_box(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Find the bounding box of the head, in mm from the image's first voxel along each array axis.

    The head is the largest connected region above a low threshold in a 4 mm copy of the image.

    :returns: lower and upper corner, shape (3,) each.
    """
    spacing = np.asarray(image.GetSpacing())
    factors = np.maximum(1, np.floor(HEAD_SEARCH_SPACING / spacing + ROUNDING)).astype(int)
    factors = np.minimum(factors, np.asarray(image.GetSize()) // 2)
    coarse = sitk.BinShrink(image, [int(factor) for factor in factors])
    values = sitk.GetArrayViewFromImage(coarse)
    lowest = float(np.percentile(values, 0.5))
    coarse = sitk.Clamp(coarse, sitk.sitkFloat32, lowest, float(np.percentile(values, 99.8)))
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(coarse)
    head = sitk.Greater(coarse, lowest + OTSU_FRACTION * (otsu.GetThreshold() - lowest))
    inside = np.argwhere(largest_component(sitk.GetArrayViewFromImage(head) > 0))
    if len(inside) == 0:
        inside = np.argwhere(np.ones_like(values, dtype=bool))
    step = (factors * spacing)[::-1]
    return inside.min(0) * step, (inside.max(0) + 1) * step
