"""The mean of many brains: what all of them have in common helps to tell what corresponds in two.

Two brains are folded in different ways, so that likeness alone leads some folds astray. The way from one brain to the
other by way of the mean goes astray elsewhere; half-way between it and the direct way is a better start for fine levels
than either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..io.resources import TEMPLATE, model_path, require_intact
from ..losses.lncc import local_correlation
from ..preprocessing import PreparedImage
from ..segmentation.structures import Structures
from ..segmentation.tissue_maps import TISSUES
from ..spatial.fields import border_ramp, downsample, resize_field, sample, voxel_grid
from ..spatial.grid import Grid, voxel_to_voxel
from ..spatial.warping import AffineWarper
from .centroids import align_centroids
from .deformable import Level, deform

FORMAT = 1
# Of the maps, in mm.
SPACING = 2.0
# In a file, a tissue's share of a voxel is kept in this many parts.
PARTS = 255
# White matter is the image; the others are compared beside it.
BESIDE = TISSUES[:2]
LEVELS = (
    Level(spacing=8.0, iterations=20, field_blur=1.0, tissues=BESIDE),
    Level(spacing=4.0, iterations=20, field_blur=1.0, tissues=BESIDE),
)
# Levels of the direct way that are finer than this are not drawn to the mean: no two brains have the same small folds.
DRAWN_SPACING = LEVELS[-1].spacing
# How much of the way by way of the mean counts; less near the border, over so many voxels.
SHARE, BORDER = 0.5, 2.0
# By way of the mean, two brains become nearly as alike as directly (0.95 times); where less so, it does not fit them.
LEAST_LIKENESS = 0.9


@dataclass(frozen=True)
class BrainMaps:
    """What is compared of a brain, or of the mean of many; the same in any contrast.

    :param tissues: (1, 3, D, H, W), the maps of :data:`TISSUES`, sizes being multiples of the coarsest level's factor.
    :param grid: of the maps, with voxels of about :data:`SPACING`.
    """

    tissues: torch.Tensor
    grid: Grid
    structures: Structures

    @classmethod
    def of(cls, tissues: torch.Tensor, grid: Grid, structures: Structures) -> BrainMaps:
        """From finer maps.

        :param tissues: (1, 3 or more, D, H, W), :data:`MAPS`.
        """
        factor = max(1, round(SPACING / float(grid.spacing.mean())))
        return cls(downsample(tissues[:, : len(TISSUES)], factor), grid.coarsened(factor), structures)

    def field_to(
        self, other: BrainMaps, matrix: np.ndarray, levels: tuple[Level, ...] = LEVELS
    ) -> tuple[torch.Tensor, Grid]:
        """The field that, followed by an affine matrix, takes this brain's voxels to those of another.

        :param matrix: 4x4, LPS mm.
        :returns: (1, 3, d, h, w) in voxels of the grid, which covers the box of this brain's.
        """
        linear = voxel_to_voxel(matrix, self.grid, other.grid)
        white = (PreparedImage(brain.tissues[:, len(BESIDE) :], brain.grid) for brain in (self, other))
        field = deform(*white, linear, levels, tissues=(self.tissues, other.tissues))
        return field, self.grid.resized(field.shape[2:])

    def to(self, device: torch.device) -> BrainMaps:
        """The same on another device."""
        return BrainMaps(self.tissues.to(device), self.grid, self.structures)

    def save(self, path: Path) -> None:
        """Write the maps and where the structures lie."""
        content = {
            "format": FORMAT,
            "tissues": (PARTS * self.tissues[0]).round().clamp(0, PARTS).byte(),
            "matrix": torch.from_numpy(self.grid.matrix),
            "volumes": torch.from_numpy(self.structures.volumes),
            "centroids": torch.from_numpy(self.structures.centroids),
        }
        torch.save(content, path)


def drawn_to_mean(
    field: torch.Tensor, matrix: np.ndarray, fixed: BrainMaps, moving: BrainMaps, mean: BrainMaps
) -> torch.Tensor:
    """A field half-way between the one that was found directly and the one by way of the mean brain.

    As it was found where the mean is of no use: too few structures are recognised, or the brains lie much worse by way
    of it.

    :param field: (1, 3, d, h, w) in its voxels, over the box of the fixed brain.
    :param matrix: 4x4, LPS mm, what follows the field.
    :returns: on a grid of about 4 mm.
    """
    way = _by_way_of(mean, fixed, moving, matrix)
    if way is None:
        return field
    direct = resize_field(field, way.shape[2:])
    if _likeness(way, matrix, fixed, moving) < LEAST_LIKENESS * _likeness(direct, matrix, fixed, moving):
        return field
    # The mean has another affine alignment: on the border, where fields are zero, it must not count.
    return torch.lerp(direct, way, SHARE * border_ramp(way.shape[2:], BORDER).to(way.device))


def _by_way_of(mean: BrainMaps, fixed: BrainMaps, moving: BrainMaps, matrix: np.ndarray) -> torch.Tensor | None:
    """From the fixed brain to the mean and on to the moving brain, as a field that the matrix follows."""
    inwards = align_centroids(fixed.structures, mean.structures)
    outwards = align_centroids(mean.structures, moving.structures)
    if inwards is None or outwards is None:
        return None
    first, grid = fixed.field_to(mean, inwards)
    second, mean_grid = mean.field_to(moving, outwards)
    places = voxel_grid(first.shape[2:], first.device)
    middle = _moved(voxel_to_voxel(inwards, grid, mean_grid), places + first)
    back = np.linalg.inv(matrix) @ outwards
    return _moved(voxel_to_voxel(back, mean_grid, grid), middle + sample(second, middle)) - places


def _moved(matrix: np.ndarray, positions: torch.Tensor) -> torch.Tensor:
    """A 4x4 matrix applied to (1, 3, ...)."""
    matrix = positions.new_tensor(matrix)
    return torch.einsum("rc,bcdhw->brdhw", matrix[:3, :3], positions) + matrix[:3, 3].view(1, 3, 1, 1, 1)


def _likeness(field: torch.Tensor, matrix: np.ndarray, fixed: BrainMaps, moving: BrainMaps) -> float:
    """The mean local correlation of the maps under a field and the matrix, in the fixed brain."""
    factor = fixed.tissues.shape[2] // field.shape[2]
    linear = voxel_to_voxel(matrix, fixed.grid, moving.grid)
    warped = AffineWarper(moving.tissues, linear, fixed.tissues.shape[2:], factor)(field)
    target = downsample(fixed.tissues, factor)
    inside = target.sum(dim=1)[0] > 0.05
    pairs = zip(warped.split(1, dim=1), target.split(1, dim=1), strict=True)
    return sum(float(local_correlation(one, other)[0, 0][inside].mean()) for one, other in pairs)


def mean_brain() -> BrainMaps | None:
    """The mean brain that ships; None where it is not installed.

    :raises InputError: it is damaged.
    """
    path = model_path(TEMPLATE)
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> BrainMaps:
    """The mean brain in a file, read once in a session."""
    require_intact(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    tissues = content["tissues"][None].float() / PARTS
    grid = Grid(tuple(tissues.shape[2:]), content["matrix"].numpy())
    return BrainMaps(tissues, grid, Structures(content["volumes"].numpy(), content["centroids"].numpy()))
