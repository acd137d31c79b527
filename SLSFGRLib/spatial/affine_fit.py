"""Fit an affine transform to corresponding points, robustly."""

from __future__ import annotations

import numpy as np

# A structure this many mm from where the others put it counts for little.
OUTLIER_DISTANCE = 4.0


REWEIGHTINGS = 10


# How strongly the affine is drawn to the best similarity transform, in mm of spread of the centroids.
STIFFNESS = 8.0


def fit_affine(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The affine matrix that takes points to their targets, without regard to those that are far out.

    Least squares, re-weighted so that misplaced points drop out (Geman & McClure 1987), first for a similarity
    transform (Umeyama 1991), then for an affine one that is drawn to it.

    :param points: (N, 3) in mm, at least four.
    :param targets: likewise.
    :returns: 4x4.
    """
    weights = np.ones(len(points))
    for _ in range(REWEIGHTINGS):
        similarity = _fit_similarity(points, targets, weights)
        weights = _trust(points, targets, similarity)
    matrix = similarity
    for _ in range(REWEIGHTINGS):
        matrix = _fit_affine(points, targets, weights, similarity)
        weights = _trust(points, targets, matrix)
    return matrix


def _trust(points: np.ndarray, targets: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A weight for each pair of points, from its distance under a matrix."""
    squares = ((points @ matrix[:3, :3].T + matrix[:3, 3] - targets) ** 2).sum(1)
    return 1.0 / (1.0 + squares / OUTLIER_DISTANCE**2) ** 2


def _fit_similarity(points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rotation, scale and shift with the least weighted squared distance."""
    centre, aim = np.average(points, axis=0, weights=weights), np.average(targets, axis=0, weights=weights)
    spread, aimed = points - centre, targets - aim
    left, stretch, right = np.linalg.svd((weights[:, None] * aimed).T @ spread)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = (stretch * sign).sum() / (weights[:, None] * spread**2).sum()
    return _about(scale * rotation, centre, aim)


def _fit_affine(points: np.ndarray, targets: np.ndarray, weights: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The affine matrix with the least weighted squared distance, drawn to the similarity transform."""
    centre, aim = np.average(points, axis=0, weights=weights), np.average(targets, axis=0, weights=weights)
    spread, aimed = points - centre, targets - aim
    stiffness = weights.sum() * STIFFNESS**2 * np.eye(3)
    normal = (weights[:, None] * spread).T @ spread + stiffness
    product = (weights[:, None] * aimed).T @ spread + similarity[:3, :3] @ stiffness
    return _about(product @ np.linalg.inv(normal), centre, aim)


def _about(linear: np.ndarray, centre: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """The 4x4 matrix with this linear part that takes ``centre`` to ``aim``."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = aim - linear @ centre
    return matrix
