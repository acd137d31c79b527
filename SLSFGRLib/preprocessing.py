"""Prepare an image: order the axes, crop to the head, resample to about 1 mm, scale the intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .io.images import checked_image, checked_intensities
from .spatial.arrays import tensor_from_array
from .spatial.grid import Grid, canonical_image, grid_of_image

# Changes with the appearance of prepared images: a network must be given images like those that it was trained on.
PREPARATION = 1
FINEST_SPACING = 1.0
# A spacing within this fraction of the wanted one is kept: interpolation would only blur.
SPACING_TOLERANCE = 0.15
# Kept around the head. The networks were trained on images that are cropped as closely, too.
MARGIN_MM = 8.0
# Sizes are multiples of the coarsest downsampling factor of a registration.
SIZE_MULTIPLE = 8
HEAD_SEARCH_SPACING = 4.0
# The head is what exceeds this fraction of Otsu's threshold, which separates bright from dark tissue as often as head
# from air.
OTSU_FRACTION = 0.4
# Resampling to a spacing larger by this factor would alias: the image is smoothed first, by this many new voxels.
ALIASING_FACTOR, ALIASING_SIGMA = 1.4, 0.4
# Headers carry rounded numbers: a spacing of 0.9999999 must not move a box by a voxel.
ROUNDING = 1e-3


@dataclass(frozen=True)
class PreparedImage:
    """An image that is ready for segmentation and registration.

    :param tensor: (1, 1, D, H, W), scaled from 0 to 1, background near 0.
    :param grid: where the tensor's voxels lie in LPS mm.
    """

    tensor: torch.Tensor
    grid: Grid

    def to(self, device: torch.device) -> PreparedImage:
        """Return the same on another device."""
        return PreparedImage(self.tensor.to(device), self.grid)


def prepare(
    image: sitk.Image,
    name: str = "image",
    spacing: float = FINEST_SPACING,
    margin: float = MARGIN_MM,
    multiple: int = SIZE_MULTIPLE,
) -> PreparedImage:
    """Order the axes, crop to the head, resample and scale the intensities.

    :param name: what to call the image in an error.
    :param spacing: wanted distance of voxels in mm, the same along each axis.
    :param margin: kept around the head, in mm; where the image ends sooner, it is padded with its edge.
    :param multiple: sizes are rounded up to multiples of this.
    :raises InputError: the image is not a three-dimensional scalar one, or is empty.
    """
    image = canonical_image(checked_intensities(checked_image(image, name), name))
    lower, upper = head_box(image)
    image = _resampled(image, spacing)
    grid = grid_of_image(image)
    start, shape = _box_in_voxels(lower - margin, upper + margin, grid, multiple)
    array = _crop_or_pad(sitk.GetArrayViewFromImage(image), start, shape)
    return PreparedImage(tensor_from_array(_scaled(array))[None, None], grid.cropped(start, shape))


def head_box(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Find the bounding box of the head, in mm from the image's first voxel along each array axis.

    The head is the largest connected region above a low threshold in a 4 mm copy of the image.

    :returns: lower and upper corner, shape (3,) each.
    """
    spacing = np.asarray(image.GetSpacing())
    factors = np.maximum(1, np.floor(HEAD_SEARCH_SPACING / spacing + ROUNDING)).astype(int)
    factors = np.minimum(factors, np.asarray(image.GetSize()) // 2)
    coarse = sitk.BinShrink(image, [int(factor) for factor in factors])
    values = sitk.GetArrayViewFromImage(coarse)
    lowest = float(np.percentile(values, 0.5))
    coarse = sitk.Clamp(coarse, sitk.sitkFloat32, lowest, float(np.percentile(values, 99.8)))
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(coarse)
    head = sitk.Greater(coarse, lowest + OTSU_FRACTION * (otsu.GetThreshold() - lowest))
    head = sitk.RelabelComponent(sitk.ConnectedComponent(head))
    inside = np.argwhere(sitk.GetArrayViewFromImage(head) == 1)
    if len(inside) == 0:
        inside = np.argwhere(np.ones_like(values, dtype=bool))
    step = (factors * spacing)[::-1]
    return inside.min(0) * step, (inside.max(0) + 1) * step


def _resampled(image: sitk.Image, spacing: float) -> sitk.Image:
    """Resample the axes whose spacing differs much from the wanted one."""
    old = np.asarray(image.GetSpacing())
    new = np.where(np.abs(old / spacing - 1.0) < SPACING_TOLERANCE, old, spacing)
    if np.array_equal(old, new):
        return image
    for axis in np.flatnonzero(new > ALIASING_FACTOR * old):
        image = sitk.RecursiveGaussian(image, sigma=float(ALIASING_SIGMA * new[axis]), direction=int(axis))
    size = np.asarray(image.GetSize())
    count = np.maximum(1, np.ceil(size * old / new - ROUNDING)).astype(int)
    shift = np.asarray(image.GetDirection()).reshape(3, 3) @ ((new - old) / 2.0)
    origin = np.asarray(image.GetOrigin()) + shift
    return sitk.Resample(
        image,
        [int(number) for number in count],
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        new.tolist(),
        image.GetDirection(),
        float(sitk.GetArrayViewFromImage(image).min()),
        sitk.sitkFloat32,
        True,
    )


def _box_in_voxels(lower: np.ndarray, upper: np.ndarray, grid: Grid, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first voxel and the number of voxels of a box in mm from the grid's first voxel."""
    start = np.floor(lower / grid.spacing + ROUNDING).astype(int)
    shape = np.ceil(upper / grid.spacing - ROUNDING).astype(int) - start
    rounded = (shape + multiple - 1) // multiple * multiple
    return start - (rounded - shape) // 2, rounded


def _crop_or_pad(array: np.ndarray, start: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return a block of an array, padded with the array's edge."""
    indices = [
        np.clip(np.arange(first, first + count), 0, size - 1)
        for first, count, size in zip(start, shape, array.shape, strict=True)
    ]
    return array[np.ix_(*indices)]


def _scaled(array: np.ndarray) -> np.ndarray:
    """Scale and clip so that 0 is the background and 1 the 99.5th percentile of the head."""
    low = float(np.percentile(array, 0.5))
    # A quantile, not the maximum: one bright voxel must not decide what counts as head.
    bright = float(np.percentile(array, 99.9))
    above = array[array > low + 0.05 * (bright - low)]
    high = float(np.percentile(above, 99.5)) if above.size else float(array.max())
    if high <= low:
        high = low + 1.0
    return np.clip((array - low) / (high - low), 0.0, 1.0).astype(np.float32)
