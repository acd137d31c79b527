"""Change the contrast, the resolution or the orientation of an image; the same input gives the same output."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# Intensity in the T1 image, as a fraction of the brain's 99th percentile, and in the T2-like image. In the brains of
# the ten pairs CSF lies at 0.2 to 0.35, grey matter at 0.55 and white matter at 0.9.
T1_NODES = (0.0, 0.12, 0.25, 0.55, 0.9, 1.2)
T2_NODES = (0.0, 1.0, 1.0, 0.55, 0.3, 0.2)
T2_MAXIMUM = 1000.0
NOISE = 0.02
SEED = 2026
TURN_AXIS, TURN_DEGREES = (0.5, 0.6, 0.62), 30.0

Variant = Callable[[sitk.Image, sitk.Image], tuple[sitk.Image, sitk.Image]]


def write_t2_like(source: Path, destination: Path) -> None:
    """Write a skull-stripped T1 image in the contrast of a T2."""
    write(with_t2_contrast(sitk.ReadImage(str(source), sitk.sitkFloat32)), destination)


def write_resampled(source: Path, destination: Path, spacing: float) -> None:
    """Write an image with cubic voxels of this size in mm."""
    write(resampled(sitk.ReadImage(str(source), sitk.sitkFloat32), spacing), destination)


def write(image: sitk.Image, path: Path) -> None:
    """Write a file that is there only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"incomplete-{path.name}")
    sitk.WriteImage(image, str(scratch))
    scratch.replace(path)


def with_t2_contrast(image: sitk.Image) -> sitk.Image:
    """Map the intensities to those of a T2 image and add noise; the background remains 0."""
    contrasted = sitk.GetImageFromArray(t2_like(sitk.GetArrayFromImage(image)))
    contrasted.CopyInformation(image)
    return contrasted


def t2_like(t1: np.ndarray) -> np.ndarray:
    """Map intensities, 0 outside the brain, to 16-bit ones up to about 1000."""
    brain = t1 > 0
    scaled = t1 / np.percentile(t1[brain], 99)
    mapped = np.interp(scaled, T1_NODES, T2_NODES)
    mapped += NOISE * np.random.default_rng(SEED).standard_normal(t1.shape)
    return np.where(brain, np.rint(T2_MAXIMUM * np.clip(mapped, 0.0, None)), 0.0).astype(np.int16)


def resampled(image: sitk.Image, spacing: float) -> sitk.Image:
    """Resample to cubic voxels of this size in mm over the same box; blur first where they are larger."""
    old_spacing, old_size = np.asarray(image.GetSpacing()), np.asarray(image.GetSize())
    size = np.maximum(1, np.rint(old_size * old_spacing / spacing)).astype(int)
    first = image.TransformContinuousIndexToPhysicalPoint(((spacing / old_spacing - 1.0) / 2.0).tolist())
    if spacing > old_spacing.min():
        image = sitk.DiscreteGaussian(image, (0.35 * spacing) ** 2)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(
        image, size.tolist(), identity, sitk.sitkLinear, first, [spacing] * 3, image.GetDirection(), 0.0
    )


def anisotropic(image: sitk.Image, labels: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Average the image to a slice thickness of 5 voxels; take the labels at the middles of the slices."""
    thick = sitk.BinShrink(image, [1, 1, 5])
    return thick, sitk.Resample(labels, thick, sitk.Transform(), sitk.sitkNearestNeighbor)


def turned(image: sitk.Image, labels: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Rotate the head about an axis that is none of the image's; the image's box grows with it."""
    turn = sitk.VersorTransform(TURN_AXIS, math.radians(TURN_DEGREES))
    middle = [(size - 1) / 2.0 for size in image.GetSize()]
    turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    room = [size // 5 for size in image.GetSize()]
    grid = sitk.ConstantPad(image, room, room, 0)
    return (
        sitk.Resample(image, grid, turn, sitk.sitkLinear),
        sitk.Resample(labels, grid, turn, sitk.sitkNearestNeighbor),
    )


# By the conditions of segmentation.py.
VARIANTS: dict[str, Variant] = {
    "plain": lambda image, labels: (image, labels),
    "t2": lambda image, labels: (with_t2_contrast(image), labels),
    "thick": anisotropic,
    # No label map with slices of 5 mm can be as fine as these labels.
    "thick-at-1mm": lambda image, labels: (anisotropic(image, labels)[0], labels),
    "turned": turned,
}
