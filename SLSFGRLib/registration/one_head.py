"""Measure whether two images show one head: it fits much better than its own mirror image, another person's does not.

A mirrored brain is like the brain of another person: its structures lie where they should, its folds do not. And it has
the contrasts, the noise and the slices of these very images, so the measure needs no scale for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..io.label_table import mirrored_channels
from ..losses.lncc import local_correlation
from ..runtime.parallel import both
from ..segmentation.centroids import MIN_VOLUME_MM3
from ..segmentation.structures import StructureCentroids
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import downsample
from ..spatial.warping import AffineWarper
from .linear_image import LinearImage
from .linear_similarity import UNEXPLAINED
from .linear_solver import COARSE, FINE, Level
from .rigid import brains, refined

# Spacing in mm of the blocks' voxels, and half the edge of a block in voxels: blocks of 15 mm hold a fold or two.
SPACING, RADIUS = 3.0, 2
# Voxels with less intensity are air.
HEAD_INTENSITY = 0.05
# With fewer pairs of structures, or with less distance in mm between left and right on average, the plane between the
# halves of a brain is not known. Chosen: those of a brain are 20 to 70 mm apart.
MIN_PAIRS, MIN_APART_MM = 3, 10.0


@dataclass(frozen=True)
class MirrorComparison:
    """What the blocks of two images tell about each other in their best rigid pose.

    :param pose: fixed points to moving points.
    :param mirrored_pose: the same with one image mirrored.
    :param information: the mean over the blocks.
    :param mirrored_information: the same with one image mirrored.
    """

    pose: Affine
    mirrored_pose: Affine
    information: float
    mirrored_information: float

    @property
    def gain(self) -> float:
        """How many times as much the images tell as mirrored: about 1 for two people, more for one head."""
        return self.information / max(self.mirrored_information, 1e-6)

    @property
    def difference(self) -> float:
        """How much more the images tell than mirrored."""
        return self.information - self.mirrored_information


def compare_with_mirror_image(fixed: Subject, moving: Subject, pose: Affine) -> MirrorComparison:
    """Compare two images with each other and with their mirror image; both poses are refined at 8 and 4 mm.

    :param pose: rigid, fixed points to moving points.
    """
    return _compared_in(fixed, moving, (pose, _mirroring(fixed).then(pose)), COARSE)


def compare_exactly(fixed: Subject, moving: Subject, found: MirrorComparison) -> MirrorComparison:
    """Refine both poses of a comparison at 2 mm, too, and compare in these."""
    return _compared_in(fixed, moving, (found.pose, found.mirrored_pose), FINE[:1])


@torch.no_grad()
def _compared_in(
    fixed: Subject, moving: Subject, poses: tuple[Affine, Affine], levels: tuple[Level, ...]
) -> MirrorComparison:
    """Refine two poses, and compare the images in these."""
    images = brains(fixed, moving)
    refined_poses = both(refined, *((images, pose, levels) for pose in poses))
    return MirrorComparison(*refined_poses, *(_information(fixed, moving, pose) for pose in refined_poses))


def _information(fixed: Subject, moving: Subject, pose: Affine) -> float:
    """Return the mean of ``-log(1 - r^2)`` over the blocks in both brains, as in :class:`BlockCorrelation`."""
    factor = max(1, round(SPACING / fixed.grid.mean_spacing))
    target = downsample(fixed.prepared.tensor, factor)
    matrix = pose.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.prepared.tensor, matrix, fixed.grid.shape, factor)
    warped = warper(target.new_zeros(1, 3, *target.shape[2:]))
    last = target.new_tensor(moving.grid.shape).view(1, 3, 1, 1, 1) - 1.0
    counted = ((warper.positions >= 0) & (warper.positions <= last)).all(dim=1)[0]
    counted &= target[0, 0] > HEAD_INTENSITY
    for weights in _weights(fixed, moving, matrix, factor):
        counted &= weights[0, 0] > 0.5
    correlation = local_correlation(warped, target, RADIUS)[0, 0][counted]
    return float(-(1.0 + UNEXPLAINED - correlation).log().mean()) if counted.any() else 0.0


def _weights(fixed: Subject, moving: Subject, matrix: np.ndarray, factor: int) -> Iterator[torch.Tensor]:
    """Yield the weights of both images' voxels that are not all 1, on the coarse fixed grid."""
    for weights in (fixed.prepared.near_brain, fixed.compared):
        if weights is not None:
            yield downsample(weights, factor)
    for weights in (moving.prepared.near_brain, moving.compared):
        if weights is not None:
            warper = AffineWarper(weights, matrix, fixed.grid.shape, factor)
            yield warper(weights.new_zeros(1, 3, *warper.shape))


def _mirroring(subject: Subject) -> Affine:
    """Return the reflection of a head about the plane between its halves."""
    plane = None if subject.segmentation is None else _plane(subject.segmentation.structures)
    if plane is None:
        # Left and right lie along the last axis of the grid.
        plane = subject.grid.matrix[:3, 2] / subject.grid.spacing[2], LinearImage.from_subject(subject).centre()
    normal, point = plane
    return Affine.about(np.eye(3) - 2.0 * np.outer(normal, normal), point, point)


def _plane(structures: StructureCentroids) -> tuple[np.ndarray, np.ndarray] | None:
    """Return normal and a point of the plane between left and right structures, or None if they do not show it."""
    other = mirrored_channels()[1:] - 1
    paired = (np.minimum(structures.volumes, structures.volumes[other]) > MIN_VOLUME_MM3) & (
        other > np.arange(len(other))
    )
    if paired.sum() < MIN_PAIRS:
        return None
    one, two = structures.centroids[paired], structures.centroids[other[paired]]
    across = (two - one).mean(0)
    apart = np.linalg.norm(across)
    return (across / apart, ((one + two) / 2.0).mean(0)) if apart > MIN_APART_MM else None
