"""From a segmentation at 2 mm to a label map on the image's own grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
import torch

from ..io.label_table import read_label_table
from ..spatial.components import largest_component
from ..spatial.grid import Grid, grid_of_image, image_from_array
from ..spatial.label_resampling import warp_labels
from .subject import Subject
from .upsampling import argmax_upsampled


@torch.no_grad()
def label_map(subject: Subject, update: Callable[[float], None] = lambda fraction: None) -> sitk.Image:
    """Return the label map of a segmented subject on its image's grid, unsigned 16-bit.

    :param update: called with the fraction done.
    """
    segmentation = subject.segmentation
    channels = argmax_upsampled(
        segmentation.logits,
        segmentation.posteriors,
        subject.corrected,
        segmentation.intensity_model.log_likelihood_ratio,
        update,
    )
    return on_image_grid(channels, subject.grid, subject.image)


def on_image_grid(channels: np.ndarray, grid: Grid, image: sitk.Image) -> sitk.Image:
    """Turn the largest connected part of channels into the label table's numbers, on the grid of an image.

    :param channels: (D, H, W) on ``grid``.
    """
    numbers = np.array([0] + [structure.number for structure in read_label_table()], dtype=np.uint16)
    labels = image_from_array(np.where(largest_component(channels > 0), numbers[channels], 0).astype(np.uint16), grid)
    reference = grid_of_image(image)
    if np.allclose(np.sort(grid.spacing), np.sort(reference.spacing), rtol=1e-3):
        # The same voxels, cropped and with the axes in another order: nothing to interpolate.
        return sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt16)
    return warp_labels(labels, sitk.Transform(3, sitk.sitkIdentity), image)
