"""Measure a registration without ground truth: similarity, overlap of structures, folding."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..evaluation.metrics import folding_percent, sd_log_jacobian
from ..losses.lncc import local_correlation
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor
from ..spatial.fields import downsample, jacobian_determinant, resize_field, resize_image, vector_norms
from ..spatial.warping import AffineWarper
from .align import structure_dice
from .result import RegistrationResult, Solution

# Similarity is measured at half the resolution.
FACTOR = 2
# Intensity above which a voxel is taken for head, where there is no segmentation.
HEAD_INTENSITY = 0.05


def measure(fixed: Subject, moving: Subject, solution: Solution, result: RegistrationResult) -> dict:
    """Return what a report says about the quality of a registration.

    Folding and displacement are those in the brain of the fixed image, or in its head without a segmentation.
    """
    inside = brain_mask(fixed, solution.field.shape[2:])
    determinants = array_from_tensor(jacobian_determinant(solution.field)[0][inside] * solution.affine.determinant)
    spacing = solution.grid.mean_spacing
    distances = vector_norms(solution.field)[0][inside] * spacing
    before, after = _similarities(fixed, moving, solution.affine, solution.field)
    return {
        "folding_percent": folding_percent(determinants),
        "sd_log_jacobian": sd_log_jacobian(determinants),
        "displacement_mm": {"mean": float(distances.mean()), "max": float(distances.max())},
        "inverse_residual_mm": float(solution.residual[0][inside].mean()) * spacing,
        "similarity_before": before,
        "similarity_after": after,
        **_dice(fixed, moving, result),
    }


def measure_linear(fixed: Subject, moving: Subject, affine: Affine, result: RegistrationResult) -> dict:
    """Return what a report says about a rigid or affine registration: nothing is deformed."""
    before, after = (_similarities(fixed, moving, each)[0] for each in (Affine.identity(), affine))
    return {
        "folding_percent": 0.0,
        "sd_log_jacobian": 0.0,
        "similarity_before": before,
        "similarity_after": after,
        **_dice(fixed, moving, result),
    }


def brain_mask(subject: Subject, shape: torch.Size) -> torch.Tensor:
    """Return the voxels in the brain on a grid of any shape over the box of the subject, (D, H, W).

    Without a segmentation, or if it finds no brain, those in the head.
    """
    if subject.segmentation is not None:
        brain = resize_image(subject.segmentation.posteriors[:, :1], shape)[0, 0] < 0.5
        if brain.any():
            return brain
    return functional.interpolate(subject.prepared.tensor, size=shape, mode="area")[0, 0] > HEAD_INTENSITY


def _similarities(fixed: Subject, moving: Subject, affine: Affine, field: torch.Tensor | None = None) -> list[float]:
    """Return the mean local correlation in the head with the affine transform alone and, if given, with a field."""
    shape = [size // FACTOR for size in fixed.grid.shape]
    target = downsample(fixed.prepared.tensor, FACTOR)
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.prepared.tensor, matrix, fixed.grid.shape, FACTOR)
    fields = [target.new_zeros(1, 3, *shape)] + ([] if field is None else [resize_field(field, shape)])
    maps = [local_correlation(warper(displacement), target) for displacement in fields]
    return [float(values[target > HEAD_INTENSITY].mean()) for values in maps]


def _dice(fixed: Subject, moving: Subject, result: RegistrationResult) -> dict:
    """Return the mean Dice of the network's structures as the images are stored, and after the registration."""
    if not are_segmented(fixed, moving):
        return {"dice_before": None, "dice_after": None}
    return {
        "dice_before": structure_dice(fixed, moving, Affine.identity()),
        "dice_after": structure_dice(fixed, moving, result.transform),
    }
