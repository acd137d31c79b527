"""Align two brains by the centroids of their structures: in closed form, for any pose and any contrast."""

from __future__ import annotations

import numpy as np

from ..spatial.affine import Affine
from ..spatial.affine_fit import fit_affine, fit_rigid
from .structures import StructureCentroids

# A smaller structure is more likely an error of the segmentation than anatomy. Chosen: less than half an accumbens.
MIN_VOLUME_MM3 = 150.0
# With fewer structures in common, a fit is not trusted. Chosen: an affine fit needs four points.
MIN_STRUCTURES = 6


def align_centroids(fixed: StructureCentroids, moving: StructureCentroids, is_rigid: bool = False) -> Affine | None:
    """Fit an affine transform of fixed to moving points to the centroids of the structures found in both brains.

    :param is_rigid: rotation and translation only.
    :returns: None if too few structures are found in both.
    """
    found = np.minimum(fixed.volumes, moving.volumes) > MIN_VOLUME_MM3
    if found.sum() < MIN_STRUCTURES:
        return None
    return (fit_rigid if is_rigid else fit_affine)(fixed.centroids[found], moving.centroids[found])
