"""Real images with labels: drawn by hand, or found in another contrast of the same head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ...errors import InputError
from ...io.images import read_image, read_labels
from ...io.label_table import read_label_table
from ...models.loading import brain_network
from ...segmentation.segmenter import DOWNSAMPLING_FACTOR
from ...segmentation.subject import Subject
from ...spatial.fields import downsample
from ...spatial.grid import Grid, image_from_array
from .label_propagation import LabelledImage


def load_images_with_labels(
    images: Sequence[Path], labels: Sequence[Path], update: Callable[[float], None] = lambda fraction: None
) -> list[LabelledImage]:
    """Prepare images as for a segmentation: what is far from the brain fades out.

    :param labels: a label map for each image, numbered as Resources/labels.csv, by position in space.
    :param update: called with the fraction done.
    :raises InputError: a file cannot be used, or the numbers of images and label maps differ.
    """
    if len(images) != len(labels):
        raise InputError(
            f"[data] labelled_images names {len(images)} files and image_labels {len(labels)}; name one label map for "
            "each image, in the same order."
        )
    network, loaded = brain_network(torch.device("cpu")), []
    for number, (image, label_map) in enumerate(zip(images, labels, strict=True)):
        update(number / len(images))
        prepared = Subject.from_image(read_image(image), str(image), brain_network=network).prepared
        probabilities = _fractions(read_labels(label_map), prepared.grid, label_map)
        loaded.append(LabelledImage(downsample(prepared.tensor, DOWNSAMPLING_FACTOR), probabilities))
    return loaded


def _fractions(labels: sitk.Image, grid: Grid, file: Path) -> torch.Tensor:
    """Return the fraction of each voxel at 2 mm that each channel fills, (1, channels, d, h, w)."""
    reference = image_from_array(np.zeros(grid.shape, np.uint8), grid)
    resampled = sitk.Resample(labels, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    numbers = sitk.GetArrayViewFromImage(resampled)
    masks = (numbers == structure.number for structure in read_label_table())
    fractions = [downsample(torch.from_numpy(mask)[None, None].float(), DOWNSAMPLING_FACTOR) for mask in masks]
    structures = torch.cat(fractions, dim=1)
    if not structures.any():
        raise InputError(f"{file}: shows no structure of Resources/labels.csv where its image shows the brain.")
    return torch.cat([1.0 - structures.sum(dim=1, keepdim=True), structures], dim=1)
