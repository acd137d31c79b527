"""Evaluate a registration: Dice, surface distances, target registration error, Jacobians, folding.

Distances are in mm and Jacobians are those of the transform in space: no figure depends on the position, spacing or
direction of the voxel grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import determinant
from ..spatial.grid import Grid, grid_of_image, image_from_array, mapped_points, moved_points
from ..spatial.label_resampling import warp_labels
from ..spatial.resampling import resample_image

# Fraction of the registered head that must overlap the head as stored; below it the pictures before registration need
# an explanation.
MIN_INITIAL_OVERLAP = 0.3
# Voxels along each axis that the overlap is measured on.
OVERLAP_SAMPLES = 48


@dataclass(frozen=True)
class Evaluation:
    """The overlap, distances and folding of one registration.

    :param dice: label to Dice coefficient, 0 to 1, for every label in either map.
    :param surface_distance_95: label to 95 % surface distance in mm; only labels present in both maps.
    :param folding_percent: share of the labelled fixed voxels where the transform folds.
    :param log_jacobian_deviation: standard deviation of log det J over the voxels that do not fold.
    """

    dice: dict[int, float]
    surface_distance_95: dict[int, float]
    folding_percent: float
    log_jacobian_deviation: float

    @property
    def mean_dice(self) -> float:
        """Return the mean over the labels, equally weighted."""
        return float(np.mean(list(self.dice.values())))

    @property
    def mean_surface_distance_95(self) -> float:
        """Return the mean over the labels in mm; not a number if no label is in both maps."""
        return float(np.mean(list(self.surface_distance_95.values()) or [np.nan]))


def evaluate(fixed_labels: sitk.Image, moving_labels: sitk.Image, transform: sitk.Transform) -> Evaluation:
    """Warp the moving labels and compare them with the fixed ones.

    :param transform: points of the fixed image to points of the moving image, LPS mm.
    """
    warped = warp_labels(moving_labels, transform, fixed_labels)
    first, second = sitk.GetArrayViewFromImage(fixed_labels), sitk.GetArrayViewFromImage(warped)
    determinants = _labelled_determinants(transform, fixed_labels)
    return Evaluation(
        dice=dice_by_label(first, second),
        surface_distance_95=surface_distances_95(fixed_labels, warped),
        folding_percent=folding_percent(determinants),
        log_jacobian_deviation=sd_log_jacobian(determinants),
    )


def _labelled_determinants(transform: sitk.Transform, labels: sitk.Image) -> np.ndarray:
    """Return the Jacobian determinant of a transform at the labelled voxels, without computing it far from them."""
    inside, grid = labels > 0, grid_of_image(labels)
    boxes = _boxes_by_label(inside)
    if not boxes:
        return np.empty(0)
    # A voxel more on each side: differences are central.
    lower, upper = boxes[1]
    lower, upper = np.maximum(lower - 1, 0), np.minimum(upper + 1, grid.shape)
    block = tuple(slice(*ends) for ends in zip(lower, upper, strict=True))
    determinants = jacobian_determinants(transform, grid.cropped(lower, upper - lower))
    return determinants[sitk.GetArrayViewFromImage(inside)[block] > 0]


def folding_percent(determinants: np.ndarray) -> float:
    """Return the percentage of voxels where a transform folds: its Jacobian determinant is not positive.

    :param determinants: of the whole transform in space, of the voxels in the brain of the fixed image.
    """
    return 100.0 * float(np.mean(determinants <= 0)) if determinants.size else 0.0


def sd_log_jacobian(determinants: np.ndarray) -> float:
    """Return the standard deviation of the log Jacobian determinant over the voxels that do not fold."""
    unfolded = determinants[determinants > 0]
    return float(np.std(np.log(unfolded))) if unfolded.size else float("nan")


def dice_by_label(first: np.ndarray, second: np.ndarray) -> dict[int, float]:
    """Return the Dice coefficient, ``2 |A and B| / (|A| + |B|)``, of every label but 0 in either array."""
    first, second = first.ravel().astype(np.int64), second.ravel().astype(np.int64)
    count = int(max(first.max(), second.max())) + 1
    in_first, in_second = np.bincount(first, minlength=count), np.bincount(second, minlength=count)
    in_both = np.bincount(first[first == second], minlength=count)
    sizes = in_first + in_second
    return {int(label): 2.0 * in_both[label] / sizes[label] for label in np.flatnonzero(sizes) if label}


def surface_distances_95(first: sitk.Image, second: sitk.Image) -> dict[int, float]:
    """Return the 95th percentile of the distance between surfaces in mm, the larger of both directions.

    :param first: a label map.
    :param second: another on the same grid.
    """
    grid = grid_of_image(first)
    arrays = [sitk.GetArrayFromImage(image) for image in (first, second)]
    boxes = [_boxes_by_label(image) for image in (first, second)]
    distances = {}
    for label in sorted(boxes[0].keys() & boxes[1].keys()):
        lower = np.minimum(boxes[0][label][0], boxes[1][label][0]) - 1
        upper = np.maximum(boxes[0][label][1], boxes[1][label][1]) + 1
        block = tuple(slice(max(0, low), high) for low, high in zip(lower, upper, strict=True))
        masks = [np.pad((array[block] == label), 1) for array in arrays]
        distances[label] = _surface_distance_95(masks[0], masks[1], grid)
    return distances


def _boxes_by_label(labels: sitk.Image) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the first and one-past-last array index of each label's bounding box."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.Cast(labels, sitk.sitkInt32))
    boxes = {}
    for label in shapes.GetLabels():
        box = np.asarray(shapes.GetBoundingBox(label))
        lower, size = box[:3][::-1], box[3:][::-1]
        boxes[int(label)] = (lower, lower + size)
    return boxes


def _surface_distance_95(first: np.ndarray, second: np.ndarray, grid: Grid) -> float:
    surfaces = [_surface(mask) for mask in (first, second)]
    maps = [_distance_to(surface, grid) for surface in surfaces]
    return float(max(np.percentile(maps[1][surfaces[0]], 95), np.percentile(maps[0][surfaces[1]], 95)))


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask with a face on its outside; the mask must not reach the array's edge."""
    inner = mask.copy()
    for axis in range(3):
        for shift in (-1, 1):
            inner &= np.roll(mask, shift, axis)
    return mask & ~inner


def _distance_to(surface: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the distance in mm of each voxel from the nearest surface voxel's centre."""
    image = image_from_array(surface.astype(np.uint8), grid)
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0.0)


def jacobian_determinants(transform: sitk.Transform, grid: Grid) -> np.ndarray:
    """Return the Jacobian determinant of a transform at every voxel, in space.

    Differences are central, at the edges one-sided. Both the points and the steps between them are in LPS mm, so the
    direction of the grid's axes cancels; ITK's ``DisplacementFieldJacobianDeterminant`` leaves it out and reports folds
    on flipped grids.
    """
    points = tensor_from_array(mapped_points(transform, grid)).movedim(-1, 0)[None]
    columns = torch.gradient(points, dim=(2, 3, 4))
    return array_from_tensor(determinant(*columns)[0]) / np.linalg.det(grid.matrix[:3, :3])


def jacobian_image(transform: sitk.Transform, reference: sitk.Image) -> sitk.Image:
    """Return the Jacobian determinant of a transform at every voxel of an image: 1 where volumes stay as they are.

    :param transform: of points of ``reference``; above 1 where the other image shows a larger volume.
    """
    grid = grid_of_image(reference)
    return image_from_array(jacobian_determinants(transform, grid).astype(np.float32), grid)


def target_registration_errors(
    fixed_points: np.ndarray, moving_points: np.ndarray, transform: sitk.Transform
) -> np.ndarray:
    """Return the distance in mm of each mapped fixed point from its moving counterpart, (N,).

    :param fixed_points: (N, 3), LPS mm.
    :param moving_points: (N, 3), the same places in the moving image.
    :param transform: points of the fixed image to points of the moving image.
    """
    return np.linalg.norm(moved_points(transform, fixed_points) - moving_points, axis=1)


def initial_overlap_note(moving: sitk.Image, warped: sitk.Image) -> str:
    """Return a sentence for the report if the two heads hardly overlap as they are stored, or an empty string.

    :param warped: the moving image on the fixed grid, after registration.
    """
    steps = [max(1, count // OVERLAP_SAMPLES) for count in warped.GetSize()]
    after = warped[:: steps[0], :: steps[1], :: steps[2]]
    before = resample_image(moving, after, sitk.Transform(3, sitk.sitkIdentity))
    arrays = [sitk.GetArrayViewFromImage(image) for image in (before, after)]
    tissue = [array > 0.1 * arrays[1].max() for array in arrays]
    overlap = (tissue[0] & tissue[1]).sum() / max(1, tissue[1].sum())
    if overlap >= MIN_INITIAL_OVERLAP:
        return ""
    return "As stored, the two heads hardly overlap in space; the pictures before registration show that."
