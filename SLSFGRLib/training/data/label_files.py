"""Label files of any kind, read as labels on the grid of a prepared image.

- An image whose voxels are from 0 to 1, such as a mask, is one label; of several channels (or volumes) each is one.
- An image with larger whole numbers is a label map: every number above 0 is a label. The same number in the same
  channel of both files of a pair corresponds.
- A list of landmarks (.csv, .fcsv, .mrk.json): every point is a label, drawn as a small ball. Points with the same
  name correspond; if no name is in both lists, points correspond by their order.

A label that only one of two files has is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ...errors import InputError
from ...io.images import checked_labels, read_channels
from ...io.points import is_point_list, read_points
from ...spatial.affine import Affine
from ...spatial.fields import downsample
from ...spatial.grid import Grid, image_from_array, voxel_positions

# Of a landmark's ball; chosen, not measured.
BALL_RADIUS_MM = 4.0
# Label images are sampled at this many points along each axis of a voxel, which gives partial-volume labels.
FINER = 2


@dataclass(frozen=True)
class Label:
    """A label on a grid, stored as the block outside of which it is empty.

    :param start: array index of the block's first voxel.
    :param block: (d, h, w) uint8, the fraction of each voxel that it fills, times 255.
    """

    start: tuple[int, ...]
    block: torch.Tensor

    @classmethod
    def from_fractions(cls, fractions: torch.Tensor) -> Label | None:
        """Return the label that fills these fractions of voxels, (D, H, W) in [0, 1]; None if it is empty."""
        values = (fractions * 255.0).round().to(torch.uint8)
        inside = torch.nonzero(values)
        if len(inside) == 0:
            return None
        lower, upper = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
        return cls(tuple(lower), values[_box(lower, upper)].clone())

    def on_grid(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the fractions on the whole grid, (D, H, W) in [0, 1]."""
        volume = torch.zeros(shape)
        upper = [low + size for low, size in zip(self.start, self.block.shape, strict=True)]
        volume[_box(self.start, upper)] = self.block / 255.0
        return volume


def corresponding_labels(moving_file: Path, fixed_file: Path, affine: Affine, grid: Grid) -> list[tuple[Label, Label]]:
    """Read the labels that both files of a pair have, on the fixed image's grid.

    :param affine: fixed points to moving points: the alignment of the two images.
    :returns: pairs of the moving and the fixed image's labels.
    :raises InputError: a file cannot be read, or the two are of different kinds.
    """
    are_points = [is_point_list(file) for file in (moving_file, fixed_file)]
    if are_points[0] != are_points[1]:
        raise InputError(f"{moving_file}: is of another kind than {fixed_file}; give two of one kind.")
    if are_points[0]:
        return _balls(moving_file, fixed_file, affine, grid)
    moving, fixed = _regions(moving_file, affine, grid), _regions(fixed_file, Affine.identity(), grid)
    return [(moving[name], fixed[name]) for name in moving if name in fixed]


def _regions(path: Path, affine: Affine, grid: Grid) -> dict[tuple[int, int], Label]:
    """Read the labels of an image file, by channel and number.

    :param affine: points of the grid to points of the image.
    """
    found = {}
    for channel, image in enumerate(read_channels(path)):
        values = sitk.GetArrayViewFromImage(image)
        is_mask = values.min() >= 0 and values.max() <= 1
        image = sitk.Cast(image, sitk.sitkFloat32) if is_mask else checked_labels(image, str(path))
        sampled = _sample(image, affine, grid, sitk.sitkLinear if is_mask else sitk.sitkNearestNeighbor)
        numbers = [1] if is_mask else [int(number) for number in sampled.unique() if number > 0]
        for number in numbers:
            finer = sampled if is_mask else (sampled == number).float()
            label = Label.from_fractions(downsample(finer[None, None], FINER)[0, 0])
            if label is not None:
                found[channel, number] = label
    return found


def _sample(image: sitk.Image, affine: Affine, grid: Grid, interpolation: int) -> torch.Tensor:
    """Sample an image at several points of each voxel of a grid, 0 outside: (2 D, 2 H, 2 W)."""
    finer = grid.resized([size * FINER for size in grid.shape])
    reference = image_from_array(np.zeros(finer.shape, np.uint8), finer)
    return torch.from_numpy(
        sitk.GetArrayFromImage(sitk.Resample(image, reference, affine.to_itk(), interpolation, 0.0))
    )


def _balls(moving_file: Path, fixed_file: Path, affine: Affine, grid: Grid) -> list[tuple[Label, Label]]:
    """Draw a ball around every landmark that both lists have, in the fixed image's space."""
    moving, fixed = read_points(moving_file), read_points(fixed_file)
    drawn = [
        [_ball(position, grid) for position in positions]
        for positions in (affine.inverse().apply(moving.positions), fixed.positions)
    ]
    common = [name for name in moving.labels if name in fixed.labels]
    if common and len(set(moving.labels)) == len(moving.labels) and len(set(fixed.labels)) == len(fixed.labels):
        numbers = [(moving.labels.index(name), fixed.labels.index(name)) for name in common]
    elif len(moving.labels) == len(fixed.labels):
        numbers = [(number, number) for number in range(len(moving.labels))]
    else:
        counts = f"has {len(moving.labels)} points and {fixed_file} {len(fixed.labels)}"
        raise InputError(f"{moving_file}: {counts}; give corresponding points the same name, each name once.")
    pairs = [(drawn[0][one], drawn[1][other]) for one, other in numbers]
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _ball(position: np.ndarray, grid: Grid) -> Label | None:
    """Draw a ball around an LPS point; None if none of it lies on the grid."""
    distance = np.linalg.norm(voxel_positions(grid) - position, axis=-1)
    # An edge about one voxel wide.
    fractions = (BALL_RADIUS_MM - distance) / float(grid.spacing.mean()) + 0.5
    return Label.from_fractions(torch.from_numpy(fractions.clip(0.0, 1.0)))


def _box(lower: tuple[int, ...] | list[int], upper: list[int]) -> tuple[slice, ...]:
    return tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))
