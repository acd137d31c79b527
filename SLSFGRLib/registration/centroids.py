"""An affine alignment in closed form, from two segmentations: no search, any pose, any contrast."""

from __future__ import annotations

import numpy as np

from ..segmentation.structures import Structures
from ..spatial.affine_fit import fit_affine

# A structure smaller than this, in mm3, is more likely a mistake than anatomy.
SMALLEST_STRUCTURE = 150.0
# With fewer structures in common, a fit says nothing.
FEWEST_STRUCTURES = 6


def align_centroids(fixed: Structures, moving: Structures) -> np.ndarray | None:
    """Fit an affine transform to the centroids of the structures that two segmentations share.

    :returns: 4x4, LPS mm, fixed points to moving points; None where too few structures are found in both.
    """
    found = np.minimum(fixed.volumes, moving.volumes) > SMALLEST_STRUCTURE
    if found.sum() < FEWEST_STRUCTURES:
        return None
    return fit_affine(fixed.centroids[found], moving.centroids[found])
