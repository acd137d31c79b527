"""Connected parts of a mask."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest part of a mask whose voxels touch by their faces; of no voxels, none.

    :param mask: boolean.

    >>> largest_component(np.array([[True, True, False, True]])).tolist()
    [[True, True, False, False]]
    """
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)))
    by_size = sitk.RelabelComponent(parts)
    # A view does not keep its image alive; the comparison makes an array.
    return sitk.GetArrayViewFromImage(by_size) == 1
