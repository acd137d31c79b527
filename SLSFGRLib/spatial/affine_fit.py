"""Fit an affine transform to corresponding points, robustly."""

from __future__ import annotations

import numpy as np

from .affine import Affine

# A point this many mm from where the others put it gets a quarter of the full weight. Chosen: the error of a centroid.
OUTLIER_DISTANCE_MM = 4.0
REWEIGHTINGS = 10
# Regularisation of the affine fit towards the similarity fit, in mm of spread of the points. Chosen: it matters only
# for points that nearly lie in a plane.
STIFFNESS_MM = 8.0


def fit_affine(points: np.ndarray, targets: np.ndarray) -> Affine:
    """Fit the affine transform that takes points to their targets, without regard to outliers.

    Iteratively re-weighted least squares with the weights of Geman & McClure (1987): first for a similarity transform
    (Umeyama 1991), then for an affine transform that is regularised towards it.

    :param points: (N, 3) in mm, at least four.
    :param targets: likewise.
    """
    weights = np.ones(len(points))
    for _ in range(REWEIGHTINGS):
        similarity = _fit_similarity(points, targets, weights)
        weights = _geman_mcclure_weights(points, targets, similarity)
    affine = similarity
    for _ in range(REWEIGHTINGS):
        affine = _fit_affine(points, targets, weights, similarity)
        weights = _geman_mcclure_weights(points, targets, affine)
    return affine


def fit_rigid(points: np.ndarray, targets: np.ndarray) -> Affine:
    """Fit rotation and translation as :func:`fit_affine` does, without regard to outliers."""
    weights = np.ones(len(points))
    for _ in range(REWEIGHTINGS):
        rigid = _fit_similarity(points, targets, weights, is_rigid=True)
        weights = _geman_mcclure_weights(points, targets, rigid)
    return rigid


def _geman_mcclure_weights(points: np.ndarray, targets: np.ndarray, affine: Affine) -> np.ndarray:
    """Return a weight for each pair of points by its distance under a transform, shape (N,)."""
    squares = ((affine.apply(points) - targets) ** 2).sum(1)
    return 1.0 / (1.0 + squares / OUTLIER_DISTANCE_MM**2) ** 2


def _fit_similarity(points: np.ndarray, targets: np.ndarray, weights: np.ndarray, is_rigid: bool = False) -> Affine:
    """Fit rotation, translation and, unless rigid, scale by weighted least squares."""
    centre, target_centre, centred, centred_targets = _centred(points, targets, weights)
    left, stretch, right = np.linalg.svd((weights[:, None] * centred_targets).T @ centred)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    if is_rigid:
        return Affine.about(rotation, centre, target_centre)
    scale = (stretch * sign).sum() / (weights[:, None] * centred**2).sum()
    return Affine.about(scale * rotation, centre, target_centre)


def _fit_affine(points: np.ndarray, targets: np.ndarray, weights: np.ndarray, similarity: Affine) -> Affine:
    """Fit an affine transform by weighted least squares with a ridge towards the similarity transform."""
    centre, target_centre, centred, centred_targets = _centred(points, targets, weights)
    stiffness = weights.sum() * STIFFNESS_MM**2 * np.eye(3)
    normal = (weights[:, None] * centred).T @ centred + stiffness
    product = (weights[:, None] * centred_targets).T @ centred + similarity.linear @ stiffness
    return Affine.about(product @ np.linalg.inv(normal), centre, target_centre)


def _centred(points: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the weighted centres of points and targets, and both around their centres."""
    centre, target_centre = np.average(points, axis=0, weights=weights), np.average(targets, axis=0, weights=weights)
    return centre, target_centre, points - centre, targets - target_centre
