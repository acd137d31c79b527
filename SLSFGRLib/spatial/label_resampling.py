"""Resample label maps through a transform without creating new labels."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk

from .grid import grid_of_image, image_from_array, mapped_points

# Voxels that are processed at once: positions take 24 bytes each, a gigabyte on a large grid.
SLAB_VOXELS = 2_000_000
OFFSETS = np.array(list(product((0, 1), repeat=3)))


def warp_labels(labels: sitk.Image, transform: sitk.Transform, reference: sitk.Image) -> sitk.Image:
    """Resample a label map onto the grid of another image.

    Each label is interpolated linearly, and the one with the largest weight is taken: borders are smooth, and no new
    number can appear. Ties go to the smaller number.

    :param transform: points of ``reference`` to points of ``labels``.
    :returns: in the pixel type of ``labels``; 0 outside.
    """
    grid = grid_of_image(reference)
    padded = np.pad(sitk.GetArrayFromImage(labels), 1)
    to_voxels = np.linalg.inv(grid_of_image(labels).matrix)
    nearest = sitk.Resample(labels, reference, transform, sitk.sitkNearestNeighbor, 0)
    warped = sitk.GetArrayFromImage(nearest)
    # Where the eight voxels around a position are equal, which is nearly everywhere, nothing needs interpolating.
    borders = sitk.Resample(_borders(padded, labels), reference, transform, sitk.sitkNearestNeighbor, 0)
    is_border = sitk.GetArrayViewFromImage(borders).astype(bool)
    for slab in _slabs(is_border):
        inside = is_border[slab]
        start = np.array([side.start for side in slab])
        points = mapped_points(transform, grid.cropped(start, np.array(inside.shape)))[inside]
        warped[slab][inside] = _strongest_label(padded, points @ to_voxels[:3, :3].T + to_voxels[:3, 3] + 1.0)
    return image_from_array(warped, grid)


def _borders(padded: np.ndarray, labels: sitk.Image) -> sitk.Image:
    """Return an image that is 1 between any eight neighbouring voxels that are not all equal.

    :param padded: the array of ``labels`` with a margin of one voxel.
    """
    mixed = np.zeros(np.array(padded.shape) - 1, dtype=np.uint8)
    first = _corner(padded, OFFSETS[0])
    for offset in OFFSETS[1:]:
        mixed |= _corner(padded, offset) != first
    image = sitk.GetImageFromArray(mixed)
    image.SetSpacing(labels.GetSpacing())
    image.SetDirection(labels.GetDirection())
    image.SetOrigin(labels.TransformContinuousIndexToPhysicalPoint([-0.5] * 3))
    return image


def _corner(padded: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return one of each cube of eight neighbouring voxels."""
    return padded[tuple(slice(start, start + size - 1) for start, size in zip(offset, padded.shape, strict=True))]


def _slabs(mask: np.ndarray) -> list[tuple[slice, slice, slice]]:
    """Return the bounding box of the true voxels, split along the first axis."""
    if not mask.any():
        return []
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    depth, height, width = (slice(int(one[0]), int(one[-1]) + 1) for one in used)
    thickness = max(1, SLAB_VOXELS // ((height.stop - height.start) * (width.stop - width.start)))
    starts = range(depth.start, depth.stop, thickness)
    return [(slice(start, min(start + thickness, depth.stop)), height, width) for start in starts]


def _strongest_label(padded: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the label with the largest linear weight at each position.

    :param padded: labels with a margin of zeros.
    :param positions: (N, 3) in voxels of ``padded``.
    :returns: (N,).
    """
    positions = np.clip(positions, 0.0, np.asarray(padded.shape) - 1.001)
    first = np.floor(positions).astype(np.int64)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    base = first @ strides
    flat = padded.ravel()
    corners = np.stack([flat[base + offset @ strides] for offset in OFFSETS])
    return _vote(corners, (positions - first).astype(np.float32))


def _vote(corners: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Add up the trilinear weights of equal labels among eight corners; return the label of the largest sum.

    :param corners: (8, N) labels.
    :param fraction: (N, 3), of the way from the first corner to the last.
    """
    weights = np.stack([np.prod(np.where(offset, fraction, 1.0 - fraction), axis=1) for offset in OFFSETS])
    best = corners[0].copy()
    best_sum = np.full(corners.shape[1], -1.0, dtype=np.float32)
    for corner in corners:
        total = np.sum(weights * (corners == corner), axis=0)
        better = (total > best_sum + 1e-6) | ((np.abs(total - best_sum) <= 1e-6) & (corner < best))
        best[better], best_sum[better] = corner[better], total[better]
    return best
