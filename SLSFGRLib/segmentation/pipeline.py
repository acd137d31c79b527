"""Segment one image: from an image of any contrast to a label map on its own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
import torch

from ..io.label_table import mirrored_channels, read_label_table
from ..models.loading import default_model
from ..models.model import Model
from ..networks import SLSFGRNetwork
from ..preprocessing import FINEST_SPACING, SPACING_TOLERANCE, PreparedImage, prepare
from ..runtime.devices import choose_device
from ..runtime.progress import Progress, ProgressCallback
from ..spatial.fields import downsample
from ..spatial.grid import Grid, grid_of_image, image_from_array, image_on_grid
from ..spatial.label_resampling import warp_labels
from .intensity_model import StructureBrightness, deep_channels
from .structures import Structures
from .tissue_maps import tissue_maps
from .upsampling import strongest_channels

# About the head; the network has learned from images that are cut close, too.
MARGIN_MM = 8.0
# How many voxels of the prepared image a side make one of the network's.
FACTOR = 2


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
        found = Segmentation.of(prepared, network, mirrored=True)
        stages.begin("Writing into the image's space")
        labels = found.labels(image, stages.update)
    stages.finish()
    return labels


def prepare_for_network(image: sitk.Image, name: str) -> PreparedImage:
    """Prepare an image at 1 mm, with room and sizes as the network needs them at 2 mm.

    :param name: what to call the image in an error.
    """
    return prepare(image, name, margin=MARGIN_MM, multiple=FACTOR * SLSFGRNetwork.size_multiple)


def fitting_network(image: sitk.Image, prepared: PreparedImage) -> PreparedImage:
    """An image that is prepared already, as the network needs it; prepared anew if its voxels are too coarse.

    :param prepared: at any spacing.
    """
    if float(prepared.grid.spacing.max()) > FINEST_SPACING * (1.0 + SPACING_TOLERANCE):
        return prepare_for_network(image, "the image").to(prepared.tensor.device)
    return prepared.pad_to_multiple(FACTOR * SLSFGRNetwork.size_multiple)


@dataclass(frozen=True)
class Segmentation:
    """What the network sees in a prepared image.

    :param logits: (1, 1 + structures, d, h, w), at 2 mm.
    :param prepared: the image, at 1 mm.
    """

    logits: torch.Tensor
    prepared: PreparedImage

    @classmethod
    def of(cls, prepared: PreparedImage, network: SLSFGRNetwork, mirrored: bool = False) -> Segmentation:
        """Segment; where the contrast is not that of a T1 image, once more with the brightness of one.

        The network knows any contrast, but T1 best: it has learned from real T1 images beside those made from labels.

        :param mirrored: also look at the image's mirror image, and take the mean: a little more accurate, and slower.
        """
        first = cls(_logits(prepared.tensor, network, mirrored), prepared)
        if not first.brightness.calls_for_t1:
            return first
        return cls(_logits(first.brightness.as_t1(prepared.tensor), network, mirrored), prepared)

    @property
    def grid(self) -> Grid:
        """The grid of the prepared image."""
        return self.prepared.grid

    @property
    def coarse_grid(self) -> Grid:
        """The grid of the logits."""
        return self.grid.coarsened(FACTOR)

    @cached_property
    def shares(self) -> torch.Tensor:
        """The share of every channel in each voxel of the coarse grid, (1, 1 + structures, d, h, w)."""
        # Along the last axis, as the channels lie in memory, the softmax takes a third of the time.
        return self.logits.movedim(1, -1).softmax(dim=-1).movedim(-1, 1)

    @cached_property
    def structures(self) -> Structures:
        """Where the structures lie."""
        return Structures.of(self.shares[0, 1:], self.coarse_grid)

    @cached_property
    def brightness(self) -> StructureBrightness:
        """How bright the structures are in this image."""
        return StructureBrightness.fitted(self.shares, downsample(self.prepared.tensor, FACTOR))

    def deep_share(self, grid: Grid) -> torch.Tensor:
        """The share of the structures within the brain in each voxel of a grid, (1, 1, D, H, W)."""
        share = self.shares[0, deep_channels()].sum(dim=0)
        found = image_on_grid(image_from_array(share.cpu().numpy(), self.coarse_grid), grid)
        return torch.from_numpy(sitk.GetArrayFromImage(found))[None, None].to(share.device)

    def tissues(self, image: PreparedImage) -> torch.Tensor:
        """Return the tissue probability maps of the prepared image on any grid, (1, 4, D, H, W)."""
        spacing = float(image.grid.spacing.mean())
        return tissue_maps(image.tensor, self.brightness, self.deep_share(image.grid), spacing)

    def labels(self, image: sitk.Image, update: Callable[[float], None] = lambda fraction: None) -> sitk.Image:
        """The label map on the grid of an image, unsigned 16-bit."""
        evidence = self.brightness.evidence
        channels = strongest_channels(self.logits, self.shares, self.prepared.tensor, evidence, update)
        return on_own_grid(channels, self.grid, image)


def _logits(image: torch.Tensor, network: SLSFGRNetwork, mirrored: bool) -> torch.Tensor:
    """What the network says of an image at 1 mm, at 2 mm: (1, 1 + structures, d, h, w)."""
    image = downsample(image, FACTOR)
    logits = network.segment(image)
    if not mirrored:
        return logits
    sides = torch.as_tensor(mirrored_channels(), dtype=torch.long, device=image.device)
    # Prepared images have left and right along the last axis.
    return (logits + network.segment(image.flip(4)).flip(4)[:, sides]) / 2.0


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


def _largest_part(labels: np.ndarray) -> np.ndarray:
    """The labels without specks beside the brain."""
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray((labels > 0).astype(np.uint8)))
    by_size = sitk.RelabelComponent(parts)
    # A view does not keep its image alive.
    return np.where(sitk.GetArrayViewFromImage(by_size) == 1, labels, 0).astype(np.uint16)
