"""Guess from the intensities of a brain, before it is segmented, whether its image has T1 contrast."""

from __future__ import annotations

from ..preprocessing import BrainMask, PreparedImage
from ..preprocessing.prepare import distance_on_grid
from ..spatial.arrays import array_from_tensor

# Depths in mm below the surface of the brain: mostly GM and CSF, and mostly WM.
OUTER_MM, INNER_MM = (2.0, 5.0), (12.0, 18.0)
# In 40 T1 images the inner part is 1.07 to 1.5 times as bright as the outer one, in 37 of 38 images of other contrasts
# 0.79 to 1.05 times (docs/develop/experiments.md).
MIN_RATIO = 1.05


def is_likely_t1(image: PreparedImage, brain: BrainMask) -> bool:
    """Return whether the inner part of a brain is brighter than its outer one, as WM is in T1 images.

    A wrong answer costs the time of one network: the segmentation tells the contrast more surely.
    """
    depth, intensities = -distance_on_grid(brain, image.grid), array_from_tensor(image.tensor[0, 0])
    outer, inner = (intensities[(depth > least) & (depth <= most)] for least, most in (OUTER_MM, INNER_MM))
    return not outer.size or not inner.size or bool(inner.mean() > MIN_RATIO * outer.mean())
