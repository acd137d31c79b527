"""What the images of a group have in common: mean intensity, mean shape, most frequent labels, sharpness.

Images are read one after the other, in the order of their folders' names, so that memory does not grow with their
number and the order in the table changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import average_on_grid, vector_norms
from ..spatial.shape_mean import ShapeMean
from .group_space import WORKING_SPACING, kept_intensities
from .group_steps import FIELD_FILE, WARPED_FILE, read_field

# Intensity above which a voxel of a template is taken for brain, where there are no labels.
BRAIN_INTENSITY = 0.05


def mean_intensity(folders: Sequence[Path]) -> np.ndarray:
    """Return the mean of the warped images in some folders, (D, H, W)."""
    total = 0.0
    for folder in folders:
        total = total + kept_intensities(folder / WARPED_FILE).astype(np.float64)
    return (total / len(folders)).astype(np.float32)


@torch.no_grad()
def mean_shape(folders: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the mean of the warped images in their mean shape.

    :returns: the mean, (D, H, W); the field from it to the space that the images were warped to, (3, d, h, w) in
        voxels; and the mean displacement by the mean of all fields in mm: how far the shape was from the mean.
    """
    mean = ShapeMean()
    for folder in folders:
        warped = tensor_from_array(kept_intensities(folder / WARPED_FILE))[None, None]
        mean.add(warped, read_field(folder / FIELD_FILE))
    image, to_common = mean.centred()
    inside = average_on_grid(image, to_common.shape[2:])[0, 0] > BRAIN_INTENSITY
    spacing = WORKING_SPACING * image.shape[2] / to_common.shape[2]
    distance = float(vector_norms(mean.field)[0][inside].mean()) * spacing
    return array_from_tensor(image[0, 0]), array_from_tensor(to_common[0]), distance


def most_frequent_labels(files: Sequence[Path]) -> np.ndarray:
    """Return the most frequent label at each voxel; of several, the smallest number.

    :param files: label maps of one shape, each read slice by slice.
    """
    maps = [np.load(file, mmap_mode="r") for file in files]
    found = np.zeros(maps[0].shape, np.result_type(*maps))
    for number, labels in enumerate(found):
        known = np.unique(np.concatenate([np.unique(each[number]) for each in maps]))
        votes = np.zeros((len(known), labels.size), np.int32)
        for each in maps:
            votes[np.searchsorted(known, each[number].ravel()), np.arange(labels.size)] += 1
        labels[:] = known[votes.argmax(axis=0)].reshape(labels.shape)
    return found


def sharpness(array: np.ndarray, inside: np.ndarray) -> float:
    """Return the mean length of the gradient of the intensity, per mm.

    :param inside: the voxels that count, of the same shape.
    """
    slopes = np.gradient(array, WORKING_SPACING)
    return float(np.sqrt(sum(slope**2 for slope in slopes))[inside].mean())
