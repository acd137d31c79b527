"""Prepare an image: order the axes, crop to the head or brain, resample to about 1 mm, scale the intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from ..io.images import checked_image, checked_intensities
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import downsample
from ..spatial.grid import Grid, canonical_image, grid_of_image, image_from_array
from .brain_mask import FADE_MM, KEPT_MM, BrainMask, fading
from .head_box import ROUNDING, head_box
from .intensities import scaled
from .resample import block_averaged, resampled

# Changes with the appearance of prepared images: a network must be given images like those that it was trained on.
PREPARATION = 1
FINEST_SPACING = 1.0
# Kept around the head. The networks were trained on images that are cropped as closely, too.
MARGIN_MM = 8.0
# Intensities are scaled by the brain deeper than this: bright fat at its surface that was taken for brain counts for
# nothing. On rendered and real heads the highest intensity then was that of the skull-stripped image within 6 %.
DEEP_MM = 8.0
# Width of the border of a brain that is shown alone. Chosen: a voxel of brain extraction.
SURFACE_FADE_MM = 2.0
# Sizes are multiples of the coarsest downsampling factor of a registration.
SIZE_MULTIPLE = 8


@dataclass(frozen=True)
class PreparedImage:
    """An image that is ready for segmentation and registration.

    :param tensor: (1, 1, D, H, W), scaled from 0 to 1, background near 0.
    :param grid: where the tensor's voxels lie in LPS mm.
    :param near_brain: 1 in the brain and near it, 0 elsewhere, of the same shape; None if the image shows nothing else.
    """

    tensor: torch.Tensor
    grid: Grid
    near_brain: torch.Tensor | None = None

    def confined_to(self, brain: BrainMask) -> PreparedImage:
        """Return the same, with the intensities scaled by a brain, and fading out around it."""
        array, distance = array_from_tensor(self.tensor[0, 0]), distance_on_grid(brain, self.grid)
        deep = distance < -DEEP_MM
        array = scaled(array, deep if deep.any() else distance < 0.0) * fading(distance)
        near_brain = (distance < KEPT_MM).astype(np.float32)
        confined = PreparedImage(
            tensor_from_array(array)[None, None], self.grid, tensor_from_array(near_brain)[None, None]
        )
        return confined.to(self.tensor.device)

    def fading_from(self, brain: BrainMask) -> PreparedImage:
        """Return the same image, fading out from the surface of a brain on."""
        factor = fading(distance_on_grid(brain, self.grid), kept=0.0, width=SURFACE_FADE_MM)
        faded = self.tensor * tensor_from_array(factor, device=self.tensor.device)
        return PreparedImage(faded, self.grid, self.near_brain)

    def averaged(self, factor: int) -> PreparedImage:
        """Return the averages of blocks of so many voxels along each axis."""
        near_brain = None if self.near_brain is None else downsample(self.near_brain, factor)
        return PreparedImage(downsample(self.tensor, factor), self.grid.coarsened(factor), near_brain)

    def to(self, device: torch.device) -> PreparedImage:
        """Return the same on another device."""
        near_brain = None if self.near_brain is None else self.near_brain.to(device)
        return PreparedImage(self.tensor.to(device), self.grid, near_brain)


def prepare(
    image: sitk.Image,
    name: str = "image",
    spacing: float = FINEST_SPACING,
    margin: float = MARGIN_MM,
    multiple: int = SIZE_MULTIPLE,
    brain: BrainMask | None = None,
) -> PreparedImage:
    """Order the axes, crop to the head or the brain, resample and scale the intensities.

    :param name: what to call the image in an error.
    :param spacing: wanted distance of voxels in mm, the same along each axis.
    :param margin: kept around the head, in mm; where the image ends sooner, it is padded with its edge.
    :param multiple: sizes are rounded up to multiples of this.
    :param brain: crop to this brain, scale its intensities, and let the image fade out around it.
    :raises InputError: the image is not a three-dimensional scalar one, or is empty.
    """
    image = canonical_image(checked_intensities(checked_image(image, name), name))
    lower, upper = head_box(image) if brain is None else brain.box()
    image = resampled(image, spacing)
    start, shape = _box_in_voxels(lower - margin, upper + margin, grid_of_image(image), multiple)
    array = _crop_or_pad(sitk.GetArrayViewFromImage(image), start, shape)
    grid = grid_of_image(image).cropped(start, shape)
    if brain is None:
        return PreparedImage(tensor_from_array(scaled(array))[None, None], grid)
    return PreparedImage(tensor_from_array(array)[None, None], grid).confined_to(brain)


def prepare_whole(image: sitk.Image, spacing: float, name: str = "image") -> PreparedImage:
    """Order the axes, resample and scale the intensities of the whole field of view.

    :param spacing: of the result, in mm.
    :param name: what to call the image in an error.
    :raises InputError: the image is not a three-dimensional scalar one, or is empty.
    """
    # Averaged first, since checks take time; after the axes are in order, so that the blocks do not depend on storage.
    averaged = block_averaged(canonical_image(checked_image(image, name)), spacing)
    image = resampled(checked_intensities(averaged, name), spacing)
    array = scaled(sitk.GetArrayViewFromImage(image))
    return PreparedImage(tensor_from_array(array)[None, None], grid_of_image(image))


def distance_on_grid(brain: BrainMask, grid: Grid) -> np.ndarray:
    """Return the distance from the surface of the brain in mm at each voxel of a grid, negative inside, (D, H, W)."""
    reference = image_from_array(np.empty(grid.shape, dtype=np.uint8), grid)
    identity, beyond = sitk.Transform(3, sitk.sitkIdentity), float(KEPT_MM + FADE_MM)
    distance = sitk.Resample(brain.distance, reference, identity, sitk.sitkLinear, beyond, sitk.sitkFloat32, True)
    return sitk.GetArrayFromImage(distance)


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
