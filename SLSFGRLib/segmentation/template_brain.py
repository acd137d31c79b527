"""Check the brain that was found in a head against that of the population template.

Brain extraction sometimes takes muscles of the neck for brain, above all in a turned head. The structures that the
segmentation then finds are mostly right, and say where the brain of the template lies in this head.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import SimpleITK as sitk

from ..io.label_table import read_label_table
from ..models.template_file import TemplateFile, bundled_template_file
from ..preprocessing import BrainMask
from ..spatial.arrays import array_from_tensor
from ..spatial.grid import Grid, image_from_array
from .centroids import align_centroids
from .structures import StructureCentroids

# After an affine alignment at most 0.3 % of the brain lay farther than this from the template's, in 35 heads and brains
# (docs/develop/experiments.md).
FARTHEST_MM = 5.0
# Fractions of what was found. Less is not worth a second segmentation; with more the alignment may be wrong.
LEAST_OUTSIDE, MOST_OUTSIDE = 0.02, 0.4
# In a part of a brain the structures' centroids lie elsewhere. It is whole if each of these has this fraction of its
# volume in the template. Chosen: slabs of 60 mm have less.
LARGE_STRUCTURES, WHOLE = ("cerebral white matter", "cerebral cortex", "cerebellar cortex", "brain stem"), 0.5
# Voxels of the template with a smaller probability of any tissue are outside its brain; gaps up to twice this radius in
# voxels are closed, and what they surround is brain, too: the maps are faint in the deep structures.
MIN_PROBABILITY, CLOSING = 0.5, 3


def near_template(brain: BrainMask, structures: StructureCentroids) -> BrainMask | None:
    """Return a brain without what lies far from the template's.

    :param structures: as the segmentation of this brain has found them.
    :returns: None if hardly anything lies there, or if the two cannot be compared.
    """
    template = bundled_template_file()
    if template is None or not _is_whole(structures, template):
        return None
    affine = align_centroids(structures, StructureCentroids(template.volumes, template.centroids))
    if affine is None:
        return None
    empty = image_from_array(np.zeros(brain.grid.shape, dtype=np.uint8), brain.grid)
    far = 2.0 * FARTHEST_MM
    distance = sitk.Resample(_distance(template), empty, affine.to_itk(), sitk.sitkLinear, far, sitk.sitkFloat32)
    near = brain.inside & (sitk.GetArrayFromImage(distance) < FARTHEST_MM)
    outside = 1.0 - near.sum() / brain.inside.sum()
    return BrainMask(near, brain.grid) if LEAST_OUTSIDE < outside < MOST_OUTSIDE else None


def _is_whole(structures: StructureCentroids, template: TemplateFile) -> bool:
    """Return whether no large structure is much smaller than in the template."""
    names = [structure.unsided_name for structure in read_label_table()]
    large = np.isin(names, LARGE_STRUCTURES)
    return bool((structures.volumes[large] > WHOLE * template.volumes[large]).all())


@lru_cache(maxsize=1)
def _distance(template: TemplateFile) -> sitk.Image:
    """Return the distance of each voxel of a template from its brain in mm; once in a session."""
    tissue = (template.tissues[0].sum(dim=0) > MIN_PROBABILITY).byte()
    closed = sitk.BinaryMorphologicalClosing(sitk.GetImageFromArray(array_from_tensor(tissue)), [CLOSING] * 3)
    inside = sitk.GetArrayFromImage(sitk.BinaryFillhole(closed)).astype(bool)
    return BrainMask(inside, Grid(inside.shape, template.matrix)).distance
