"""Replace a lesion by the other side of the brain, before two people are compared.

The two sides of a brain are much alike. So what a lesion hides is better guessed from the other side than left out, and
the deformation finds the place of the lesion as it would without it (enantiomorphic normalisation; Nachev et al. 2008).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..io.label_table import mirrored_channels
from ..segmentation.centroids import align_centroids
from ..segmentation.segmenter import DOWNSAMPLING_FACTOR
from ..segmentation.structures import StructureCentroids
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import downsample
from ..spatial.grid import Grid
from ..spatial.warping import affinely_warped

MIRROR = Affine(np.diag([-1.0, 1.0, 1.0, 1.0]))


def with_other_side(subject: Subject) -> Subject:
    """Return a segmented subject whose lesion shows the same place of the other side, which may be compared.

    Where the lesion lies on both sides, and if too few structures are found to know the other side, the subject stays
    as it is: the lesion shows what is around it and is not compared.
    """
    if subject.lesion is None or subject.segmentation is None:
        return subject
    affine = to_other_side(subject.segmentation.structures)
    if affine is None:
        return subject
    lesion, grid, segmentation = subject.lesion, subject.grid, subject.segmentation
    replaced = lesion * (1.0 - moved(lesion, grid, affine))
    image = torch.lerp(subject.prepared.tensor, moved(subject.prepared.tensor, grid, affine), replaced)
    # What is on the left there is on the right here.
    swapped = segmentation.posteriors[:, mirrored_channels()]
    other = moved(swapped, segmentation.grid, affine)
    coarse = downsample(replaced, DOWNSAMPLING_FACTOR)
    posteriors = torch.lerp(segmentation.posteriors, other, coarse)
    return replace(
        subject,
        prepared=replace(subject.prepared, tensor=image),
        segmentation=replace(segmentation, posteriors=posteriors),
        compared=torch.maximum(subject.compared, replaced),
    )


def to_other_side(structures: StructureCentroids) -> Affine | None:
    """Fit the transform of points of a brain to the same points of its other side; None if too little is known."""
    sides = mirrored_channels()[1:] - 1
    mirrored = StructureCentroids(structures.volumes[sides], MIRROR.apply(structures.centroids[sides]))
    to_mirror_image = align_centroids(structures, mirrored)
    return None if to_mirror_image is None else to_mirror_image.then(MIRROR)


def moved(image: torch.Tensor, grid: Grid, affine: Affine) -> torch.Tensor:
    """Return ``image(affine(x))`` on the image's own grid.

    :param image: (1, C, D, H, W).
    """
    return affinely_warped(image, affine.in_voxels(grid, grid), grid.shape)
