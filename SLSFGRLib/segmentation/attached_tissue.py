"""Tell the brain from what is attached to it: muscles of the neck, marrow and skin that were taken for brain.

Bone lies between them and the brain, so they hang together by thin bridges, or not at all. Erosion cuts these, as in
classical brain extraction: what is then far from the largest part is no brain.
"""

from __future__ import annotations

import SimpleITK as sitk
import torch

from ..io.label_table import read_label_table
from ..preprocessing import BrainMask
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.components import largest_component
from ..spatial.grid import Grid, image_from_array

# Least probability of tissue, and how far from the core the brain reaches. Both chosen (docs/develop/experiments.md): a
# smaller reach costs an atrophied cortex and the CSF around it more, a larger one leaves more of the muscles.
MIN_PROBABILITY, REACH_MM = 0.7, 7.5
FLUID = "Cerebrospinal fluid"


def near_core(posteriors: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return 1 in and near the core of a segmented brain, 0 elsewhere, (1, 1, d, h, w).

    The core is the largest connected part of the tissue without its outermost voxels. Without one, all is near.

    :param posteriors: (1, 1 + structures, d, h, w), of background and structures.
    :param grid: of the posteriors, at about 2 mm.
    """
    fluid = [structure.name for structure in read_label_table()].index(FLUID) + 1
    tissue = 1.0 - posteriors[0, 0] - posteriors[0, fluid] > MIN_PROBABILITY
    image = image_from_array(array_from_tensor(tissue.byte()), grid)
    core = largest_component(sitk.GetArrayFromImage(sitk.BinaryErode(image, [1] * 3, sitk.sitkBox)) > 0)
    if not core.any():
        return torch.ones_like(posteriors[:, :1])
    near = sitk.GetArrayFromImage(BrainMask(core, grid).distance) < REACH_MM
    return tensor_from_array(near, posteriors.dtype, posteriors.device)[None, None]
