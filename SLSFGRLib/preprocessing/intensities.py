"""Scale the intensities of an image."""

from __future__ import annotations

import numpy as np


def scaled(array: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Scale and clip so that 0 is the background and 1 the 99.5th percentile of the head or of a region.

    :param inside: the voxels of the region, of the same shape; by default the head is found by its intensities.
    """
    low = float(np.percentile(array, 0.5))
    above = array[head_by_intensity(array)] if inside is None else array[inside]
    high = float(np.percentile(above, 99.5)) if above.size else float(array.max())
    if high <= low:
        high = low + 1.0
    return np.clip((array - low) / (high - low), 0.0, 1.0).astype(np.float32)


def head_by_intensity(array: np.ndarray) -> np.ndarray:
    """Return the voxels that are brighter than the background."""
    low = float(np.percentile(array, 0.5))
    # A quantile, not the maximum: one bright voxel must not decide what counts as head.
    bright = float(np.percentile(array, 99.9))
    return array > low + 0.05 * (bright - low)
