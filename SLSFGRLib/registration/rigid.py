"""Find the rigid or affine transform between two scans of one head; nothing is deformed."""

from __future__ import annotations

import torch

from ..runtime.parallel import both
from ..segmentation.centroids import align_centroids
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from .align import structure_dice
from .linear_image import LinearImage
from .linear_solver import COARSE, FINE, Level, solve
from .pose_search import search

# With a larger mean Dice of the structures a start is right. Chosen: two scans of one head that lie on each other have
# 0.7 to 0.9.
TRUSTED_DICE = 0.5


@torch.no_grad()
def align_heads(fixed: Subject, moving: Subject, start: Affine | None = None, is_rigid: bool = True) -> Affine:
    """Find the rigid or affine transform of fixed points to moving points of one head.

    :param start: a transform to refine; by default that of :func:`rough_pose`.
    :param is_rigid: rotation and translation only.
    """
    heads = _whole(fixed, moving)
    if start is None:
        start = rough_pose(fixed, moving)
    found = refined(heads, start, (*COARSE, *FINE))
    return found if is_rigid else refined(heads, found, FINE, is_rigid=False)


@torch.no_grad()
def rough_pose(fixed: Subject, moving: Subject, start: Affine | None = None) -> Affine:
    """Find a rigid transform of fixed points to moving points, exact to about a millimetre for one head.

    It starts at the structures' centroids. If these do not fit, or without segmentations, all rotations are tried.

    :param start: a transform to refine instead.
    """
    if start is None:
        start = _structures_pose(fixed, moving)
    if start is None:
        return _searched(*_whole(fixed, moving))
    return refined(brains(fixed, moving), start, COARSE)


def brains(fixed: Subject, moving: Subject) -> tuple[LinearImage, LinearImage]:
    """Return the prepared images, in which what is far from the brain fades out."""
    return LinearImage.from_subject(fixed), LinearImage.from_subject(moving)


@torch.no_grad()
def refined(
    images: tuple[LinearImage, LinearImage], start: Affine, levels: tuple[Level, ...], is_rigid: bool = True
) -> Affine:
    """Refine a transform of fixed points to moving points, which may also mirror.

    The image with the thicker slices gives the samples; the other is averaged over them.

    :param is_rigid: rotation and translation only.
    """
    if images[0].slice_thickness >= images[1].slice_thickness:
        return solve(*images, start, levels, is_rigid).pose
    return solve(*images[::-1], start.inverse(), levels, is_rigid).pose.inverse()


def _structures_pose(fixed: Subject, moving: Subject) -> Affine | None:
    """Return the pose that brings the structures onto each other, if they fit."""
    if not are_segmented(fixed, moving):
        return None
    pose = align_centroids(fixed.segmentation.structures, moving.segmentation.structures, is_rigid=True)
    return pose if pose is not None and structure_dice(fixed, moving, pose) > TRUSTED_DICE else None


def _searched(fixed: LinearImage, moving: LinearImage) -> Affine:
    """Try all rotations; the samples of the smaller field of view are all inside the larger one."""
    if moving.volume < fixed.volume:
        return search(moving, fixed).pose.inverse()
    return search(fixed, moving).pose


def _whole(fixed: Subject, moving: Subject) -> tuple[LinearImage, LinearImage]:
    return both(LinearImage.whole, (fixed,), (moving,))
