"""Carrying label maps through a transform without inventing labels."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk

from .coordinates import grid_of_image, image_from_array, mapped_points


def warp_labels(labels: sitk.Image, transform: sitk.Transform, reference: sitk.Image) -> sitk.Image:
    """A label map on the grid of another image.

    Each label is interpolated linearly on its own and the strongest wins, so that borders are smooth and
    no new number can appear. Ties go to the smaller number.

    :param transform: points of ``reference`` to points of ``labels``.
    :returns: in the pixel type of ``labels``; 0 outside.
    """
    grid = grid_of_image(reference)
    to_voxels = np.linalg.inv(grid_of_image(labels).matrix)
    points = mapped_points(transform, grid).reshape(-1, 3)
    positions = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    warped = _strongest_label(sitk.GetArrayFromImage(labels), positions).reshape(grid.shape)
    return image_from_array(warped, grid)


def _strongest_label(labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The label with the largest linear weight at each position.

    :param positions: (N, 3) in voxels of ``labels``.
    :returns: (N,).
    """
    padded = np.pad(labels, 1)
    limits = np.asarray(padded.shape) - 2.0
    positions = np.clip(positions + 1.0, 0.0, limits + 0.999)
    first = np.floor(positions).astype(np.int64)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    base = first @ strides
    offsets = np.array(list(product((0, 1), repeat=3)))
    flat = padded.ravel()
    corners = np.stack([flat[base + offset @ strides] for offset in offsets])
    result = corners[0].copy()
    mixed = np.flatnonzero((corners != corners[0]).any(axis=0))
    fraction = (positions[mixed] - first[mixed]).astype(np.float32)
    result[mixed] = _vote(corners[:, mixed], fraction, offsets)
    return result


def _vote(corners: np.ndarray, fraction: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Add up the trilinear weights of equal labels among eight corners; the label of the largest sum.

    :param corners: (8, N) labels.
    :param fraction: (N, 3), how far the position lies from the first corner to the last.
    """
    weights = np.stack([np.prod(np.where(offset, fraction, 1.0 - fraction), axis=1) for offset in offsets])
    best = corners[0].copy()
    best_sum = np.full(corners.shape[1], -1.0, dtype=np.float32)
    for corner in corners:
        total = np.sum(weights * (corners == corner), axis=0)
        better = (total > best_sum + 1e-6) | ((np.abs(total - best_sum) <= 1e-6) & (corner < best))
        best[better], best_sum[better] = corner[better], total[better]
    return best
