"""What the network sees in both images of a pair: a start for the alignment, and a measure of its success."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
import torch

from ..evaluation.metrics import dice_by_label
from ..models.model import Model
from ..preprocessing import PreparedImage
from ..segmentation.pipeline import Segmentation, fitting_network
from ..spatial.grid import affine_transform, image_from_array, voxel_to_millimetres
from .affine import LAST_REFINEMENT, align
from .centroids import align_centroids
from .template import BrainMaps, drawn_to_mean

# An alignment under which the structures overlap less than this has gone wrong.
LEAST_OVERLAP = 0.35
# Shadows, or slices that are missing, mislead the images' likeness: the structures then lose more overlap than this.
LARGEST_LOSS = 0.1


@dataclass(frozen=True)
class PairAnatomy:
    """The segmentations of the fixed and of the moving image."""

    fixed: Segmentation
    moving: Segmentation

    @classmethod
    def of(
        cls, images: tuple[sitk.Image, sitk.Image], prepared: tuple[PreparedImage, PreparedImage], model: Model
    ) -> PairAnatomy:
        """Segment both images.

        :param images: the fixed and the moving one.
        :param prepared: the same, prepared; on the device to work on.
        :raises InputError: the model cannot segment.
        """
        device = prepared[0].tensor.device
        network = model.segmenter().to(device, memory_format=torch.channels_last_3d)
        return cls(*(Segmentation.of(fitting_network(*both), network) for both in zip(images, prepared, strict=True)))

    def align(self, fixed: PreparedImage, moving: PreparedImage) -> np.ndarray:
        """An affine alignment that begins at the structures' centroids, or at a search where these mislead.

        :returns: 4x4, LPS mm, fixed points to moving points.
        """
        start = align_centroids(self.fixed.structures, self.moving.structures)
        if start is None:
            return align(fixed, moving)
        refined = align(fixed, moving, start, LAST_REFINEMENT)
        before, after = (self._overlap_under(matrix) for matrix in (start, refined))
        best, overlap = (start, before) if after < before - LARGEST_LOSS else (refined, after)
        if overlap >= LEAST_OVERLAP:
            return best
        # As the images are stored they may lie better than anything that was found.
        return max((best, align(fixed, moving), np.eye(4)), key=self._overlap_under)

    def _overlap_under(self, matrix: np.ndarray) -> float:
        return self.overlap(affine_transform(matrix))

    def labels(self, fixed: sitk.Image, moving: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
        """The label maps on the grids of the two images, unsigned 16-bit."""
        return self.fixed.labels(fixed), self.moving.labels(moving)

    def tissues(self, fixed: PreparedImage, moving: PreparedImage) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps of :mod:`SLSFGRLib.segmentation.tissue_maps` of both prepared images, each (1, 4, D, H, W)."""
        return self.fixed.tissues(fixed), self.moving.tissues(moving)

    def drawn_to_mean(
        self,
        field: torch.Tensor,
        matrix: np.ndarray,
        fixed: PreparedImage,
        moving: PreparedImage,
        tissues: tuple[torch.Tensor, torch.Tensor],
        mean: BrainMaps,
    ) -> torch.Tensor:
        """A field, half-way to the one by way of the mean brain; see :func:`mean_brain.drawn_to_mean`.

        :param matrix: 4x4, voxels of the fixed to voxels of the moving image, which follows the field.
        :param tissues: what :meth:`tissues` gives.
        """
        maps = (
            BrainMaps.of(of_tissues, image.grid, found.structures)
            for of_tissues, image, found in zip(tissues, (fixed, moving), (self.fixed, self.moving), strict=True)
        )
        in_millimetres = voxel_to_millimetres(matrix, fixed.grid, moving.grid)
        return drawn_to_mean(field, in_millimetres, *maps, mean.to(field.device))

    def overlap(self, transform: sitk.Transform) -> float:
        """Mean Dice of the structures at 2 mm.

        :param transform: points of the fixed image to points of the moving image, LPS mm.
        """
        fixed, moving = self.coarse_labels
        carried = sitk.Resample(moving, fixed, transform, sitk.sitkNearestNeighbor, 0)
        scores = dice_by_label(*(sitk.GetArrayViewFromImage(labels) for labels in (fixed, carried)))
        return float(np.mean(list(scores.values()))) if scores else 0.0

    @cached_property
    def coarse_labels(self) -> tuple[sitk.Image, sitk.Image]:
        """The strongest channel in each voxel of the network's grid, of both images."""
        parts = self.fixed, self.moving
        return tuple(
            image_from_array(part.logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy(), part.coarse_grid)
            for part in parts
        )
