"""Segment one image: from an image of any contrast to a label map on its own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .coordinates import Grid, grid_of_image, image_from_array
from .devices import choose_device
from .fields import downsample, resize_image
from .label_table import read_label_table
from .labels import warp_labels
from .models import Model, default_model
from .networks import SLSFGRNetwork
from .preparation import PreparedImage, prepare
from .progress import Progress, ProgressCallback

# About the head; the network has learned from images that are cut close, too.
MARGIN_MM = 8.0
# How many voxels of the prepared image a side make one of the network's.
FACTOR = 2


@dataclass(frozen=True)
class StructureVolume:
    """How large a structure is.

    :param number: in the label map.
    :param volume_mm3: number of its voxels times the volume of one.
    """

    number: int
    name: str
    volume_mm3: float


def segment(
    image: sitk.Image,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    *,
    model: Model | None = None,
) -> sitk.Image:
    """Segment a brain image of any contrast, with or without the skull.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param progress: called with a fraction and a sentence; what it raises stops the run.
    :param model: a trained SL-SFGR model; by default the one that ships.
    :returns: label map on the image's own grid, unsigned 16-bit, numbered as in ``Resources/labels.csv``.
    :raises InputError: the image cannot be used, or there is no model.
    """
    where = choose_device(device)
    stages = Progress(progress, {"Preparing the image": 1.0, "Segmenting": 4.0, "Writing into the image's space": 2.0})
    with torch.no_grad():
        stages.begin("Preparing the image")
        network = (model or default_model()).segmenter().to(where, memory_format=torch.channels_last_3d)
        prepared = prepare_for_network(image, "the image").to(where)
        stages.begin("Segmenting")
        found = Segmentation.of(prepared, network)
        stages.begin("Writing into the image's space")
        labels = found.labels(image, stages.update)
    stages.finish()
    return labels


def prepare_for_network(image: sitk.Image, name: str) -> PreparedImage:
    """Prepare an image at 1 mm, with room and sizes as the network needs them at 2 mm.

    :param name: what to call the image in an error.
    """
    return prepare(image, name, margin=MARGIN_MM, multiple=FACTOR * SLSFGRNetwork.size_multiple)


@dataclass(frozen=True)
class Segmentation:
    """What the network sees in a prepared image.

    :param logits: (1, 1 + structures, d, h, w), at 2 mm.
    :param grid: of the prepared image, at 1 mm.
    """

    logits: torch.Tensor
    grid: Grid

    @classmethod
    def of(cls, prepared: PreparedImage, network: SLSFGRNetwork) -> Segmentation:
        """Segment."""
        return cls(network.segment(downsample(prepared.tensor, FACTOR)), prepared.grid)

    @property
    def coarse_grid(self) -> Grid:
        """The grid of the logits."""
        return self.grid.coarsened(FACTOR)

    def shares(self) -> torch.Tensor:
        """The share of every structure in each voxel of the coarse grid, (structures, d, h, w)."""
        return self.logits.softmax(dim=1)[0, 1:]

    def labels(self, image: sitk.Image, update: Callable[[float], None] = lambda fraction: None) -> sitk.Image:
        """The label map on the grid of an image, unsigned 16-bit."""
        return on_own_grid(strongest_channels(self.logits, self.grid.shape, update), self.grid, image)


def strongest_channels(
    logits: torch.Tensor, shape: tuple[int, int, int], update: Callable[[float], None] = lambda fraction: None
) -> np.ndarray:
    """The channel with the largest logit in each voxel of a finer grid over the same box.

    Logits are interpolated, not labels: borders come out smooth, and finer than the network's voxels. The channels
    are taken one after the other, and only where the coarse result shows a brain.

    :param logits: (1, K, d, h, w).
    :param shape: of the finer grid.
    :returns: uint8, of that shape.
    """
    coarse = logits.argmax(dim=1)[0]
    inside = [torch.nonzero(coarse.amax(dim=[other for other in range(3) if other != axis]))[:, 0] for axis in range(3)]
    result = np.zeros(shape, dtype=np.uint8)
    if any(len(indices) == 0 for indices in inside):
        return result
    box, fine_box = [], []
    for indices, size, fine in zip(inside, coarse.shape, shape, strict=True):
        low, high = max(0, int(indices[0]) - 1), min(size, int(indices[-1]) + 2)
        box.append(slice(low, high))
        fine_box.append(slice(low * fine // size, high * fine // size))
    part = logits[(slice(None), slice(None), *box)]
    wanted = [piece.stop - piece.start for piece in fine_box]
    best = resize_image(part[:, :1].contiguous(), wanted)
    channel = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for number in range(1, logits.shape[1]):
        update(number / logits.shape[1])
        other = resize_image(part[:, number : number + 1].contiguous(), wanted)
        better = other > best
        channel.masked_fill_(better, number)
        best = torch.maximum(best, other)
    result[tuple(fine_box)] = channel[0, 0].cpu().numpy()
    return result


def on_own_grid(channels: np.ndarray, grid: Grid, image: sitk.Image) -> sitk.Image:
    """A label map with the label table's numbers on the grid of an image.

    :param channels: of the label table, on the grid of the prepared image.
    """
    numbers = np.array([0] + [structure.number for structure in read_label_table()], dtype=np.uint16)
    labels = image_from_array(_largest_part(numbers[channels]), grid)
    reference = grid_of_image(image)
    if np.allclose(np.sort(grid.spacing), np.sort(reference.spacing), rtol=1e-3):
        # The same voxels, cropped and with the axes in another order: nothing to interpolate.
        return sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt16)
    return warp_labels(labels, sitk.Transform(3, sitk.sitkIdentity), image)


def volumes(labels: sitk.Image) -> list[StructureVolume]:
    """The volume of every structure of the label table in a label map, also of those that are absent."""
    counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel().astype(np.int64))
    # In an image that was sheared on its way here, the axes are not at right angles.
    voxel = float(np.prod(labels.GetSpacing())) * abs(float(np.linalg.det(np.reshape(labels.GetDirection(), (3, 3)))))
    return [
        StructureVolume(
            item.number, item.name, float(counts[item.number]) * voxel if item.number < len(counts) else 0.0
        )
        for item in read_label_table()
    ]


def _largest_part(labels: np.ndarray) -> np.ndarray:
    """The labels without specks beside the brain."""
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray((labels > 0).astype(np.uint8)))
    return np.where(sitk.GetArrayViewFromImage(sitk.RelabelComponent(parts)) == 1, labels, 0).astype(np.uint16)
