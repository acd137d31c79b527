"""Tell the brain from what is attached to it: muscles of the neck, marrow and skin that were taken for brain.

Bone lies between them and the brain, so they hang together by thin bridges, or not at all. Erosion cuts these, as in
classical brain extraction: what is then far from the largest part is no brain.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch

from ..preprocessing import BrainMask
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.components import largest_component
from ..spatial.grid import Grid
from .intensity_model import channel_names

# Least probability of tissue, and how far from the core the brain reaches. Both chosen (docs/develop/experiments.md): a
# smaller reach costs an atrophied cortex and the CSF around it more, a larger one leaves more of the muscles.
MIN_PROBABILITY, REACH_MM = 0.7, 7.5
FLUID = "cerebrospinal fluid"


def near_core(posteriors: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return 1 in and near the core of a segmented brain, 0 elsewhere, (1, 1, d, h, w).

    The core is the largest connected part of the tissue without its outermost voxels. Without one, all is near.

    :param posteriors: (1, 1 + structures, d, h, w), of background and structures.
    :param grid: of the posteriors, at about 2 mm.
    """
    fluid = posteriors[0, channel_names().index(FLUID)]
    tissue = 1.0 - posteriors[0, 0] - fluid > MIN_PROBABILITY
    core = largest_component(_eroded(array_from_tensor(tissue)))
    if not core.any():
        return torch.ones_like(posteriors[:, :1])
    near = sitk.GetArrayFromImage(BrainMask(core, grid).distance) < REACH_MM
    return tensor_from_array(near, posteriors.dtype, posteriors.device)[None, None]


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Return a mask (D, H, W) without the voxels that touch its outside; SimpleITK's filter takes ten times as long."""
    for axis in range(3):
        before = np.moveaxis(mask, axis, 0)
        after = before.copy()
        after[1:] &= before[:-1]
        after[:-1] &= before[1:]
        mask = np.moveaxis(after, 0, axis)
    return mask
