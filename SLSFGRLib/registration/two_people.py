"""Tell two people by the structures of their brains, where the images tell too little about each other."""

from __future__ import annotations

from ..segmentation.centroids import align_centroids
from ..segmentation.subject import Subject, are_segmented
from .align import structure_dice

# With a lower mean Dice in an affine pose the segmentations are not trusted. Chosen: 1,640 pairs of images, of one head
# or of two, had at least 0.60.
MIN_DICE = 0.55
# By so much the structures of two people fit better in an affine pose than in a rigid one. Those of one head have one
# size: 92 pairs gained at most 0.042; 16 pairs of two people whose images told too little gained at least 0.12
# (docs/develop/experiments.md).
STRETCHED_GAIN = 0.08


def structures_show_two_people(fixed: Subject, moving: Subject) -> bool:
    """Return whether the structures of two brains fit much better if one brain may be stretched than if it may not."""
    if not are_segmented(fixed, moving):
        return False
    both = fixed.segmentation.structures, moving.segmentation.structures
    rigid, affine = align_centroids(*both, is_rigid=True), align_centroids(*both)
    if rigid is None or affine is None:
        return False
    stretched = structure_dice(fixed, moving, affine)
    return stretched > MIN_DICE and stretched - structure_dice(fixed, moving, rigid) > STRETCHED_GAIN
