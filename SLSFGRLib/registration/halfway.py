"""Bring several scans of one head into the space half-way between them, from the rigid transforms of all pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from .rigid import align_heads

# Where a rotation of one radian moves tissue, in mm: it weighs rotations against translations.
HEAD_RADIUS_MM = 70.0
# A pair that disagrees with the others by more than this, in mm, counts less.
TOLERATED_MM = 0.3
ROUNDS = 100


def halfway_poses(subjects: Sequence[Subject], update: Callable[[float], None] = lambda fraction: None) -> list[Affine]:
    """Find the rigid transform of points (LPS mm) from the half-way space to each scan.

    Each pair is registered in both directions. The order of the scans makes no difference.
    """
    count = len(subjects)
    pairs = {}
    for number, (one, other) in enumerate(combinations(range(count), 2)):
        update(2 * number / (count * (count - 1)))
        ways = align_heads(subjects[one], subjects[other]), align_heads(subjects[other], subjects[one]).inverse()
        pairs[one, other] = mean_pose(ways, subjects[one].grid.centre)
        pairs[other, one] = pairs[one, other].inverse()
    poses, _ = average_poses(pairs, [subject.grid.centre for subject in subjects])
    return poses


def average_poses(
    pairs: dict[tuple[int, int], Affine], centres: Sequence[np.ndarray]
) -> tuple[list[Affine], np.ndarray]:
    """Find the transforms from a half-way space that agree best with those of all pairs.

    :param pairs: by the numbers of two scans, the rigid transform of points of the first to points of the second.
    :param centres: of the head in each scan, LPS mm.
    :returns: transforms of points in LPS mm, and the centre of the heads in the half-way space, (3,).
    """
    count = len(centres)
    poses = [Affine.identity() if number == 0 else pairs[0, number] for number in range(count)]
    for _ in range(ROUNDS):
        old, centre = poses, _centre_of_heads(poses, centres)
        poses = [_agreed(old, pairs, number, centre) for number in range(count)]
        if max(_distance(*both, centre) for both in zip(old, poses, strict=True)) < 1e-7:
            break
    # So far the space is that of the first scan. The mean displacement from the half-way space to the scans is zero.
    centre = _centre_of_heads(poses, centres)
    mean = mean_pose(poses, centre)
    return [mean.inverse().then(pose) for pose in poses], mean.apply(centre)


def _centre_of_heads(poses: Sequence[Affine], centres: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of the heads' centres in the space that the poses start from."""
    return np.mean([pose.inverse().apply(centre) for pose, centre in zip(poses, centres, strict=True)], axis=0)


def _agreed(poses: list[Affine], pairs: dict[tuple[int, int], Affine], number: int, centre: np.ndarray) -> Affine:
    """Return the pose of one scan as the others see it, outliers counting less (Huber's weights)."""
    seen = [poses[number]] + [poses[j].then(pairs[j, number]) for j in range(len(poses)) if j != number]
    distances = np.array([_distance(poses[number], pose, centre) for pose in seen])
    return mean_pose(seen, centre, TOLERATED_MM / np.maximum(distances, TOLERATED_MM))


def mean_pose(poses: Sequence[Affine], centre: np.ndarray, weights: np.ndarray | None = None) -> Affine:
    """Return the weighted mean of rigid transforms.

    :param centre: the point whose positions are averaged, and about which the rotations are, in mm.
    """
    weights = np.ones(len(poses)) if weights is None else weights
    total = sum(weight * pose.linear for weight, pose in zip(weights, poses, strict=True))
    left, _, right = np.linalg.svd(total)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return Affine.about(rotation, centre, np.average([pose.apply(centre) for pose in poses], axis=0, weights=weights))


def _distance(one: Affine, other: Affine, centre: np.ndarray) -> float:
    """Return how far two rigid transforms take a head apart, in mm."""
    angle = np.arccos(np.clip((np.trace(one.linear.T @ other.linear) - 1.0) / 2.0, -1.0, 1.0))
    return float(np.linalg.norm(one.apply(centre) - other.apply(centre)) + HEAD_RADIUS_MM * angle)
