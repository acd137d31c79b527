"""Whole images at several resolutions, for the rigid and affine solver.

The solver compares the images as they were given, not the cropped preparation at 1 mm: thick slices keep their own
grid, and nothing is interpolated twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional

from ..io.images import checked_image, checked_intensities
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import smooth
from ..spatial.grid import Grid, canonical_image, grid_of_image

# Scaled intensities above this count as head, and so does what lies within the margin around it.
HEAD_INTENSITY, HEAD_MARGIN_MM = 0.06, 8.0
HEAD_SEARCH_SPACING = 4.0
# A level's voxels are at most this much smaller than its spacing: averaging whole voxels leaves no other choice.
FINER = 0.75
# Of the Gaussian at each level, in voxels. It hides that linear interpolation blurs between voxels and not on them.
SIGMA = 0.5


@dataclass(frozen=True)
class LinearImage:
    """A whole image in canonical order, scaled from 0 to 1.

    :param tensor: (1, 1, D, H, W).
    :param compared: an image that is 0 where this one must not be compared; None for everywhere.
    """

    tensor: torch.Tensor
    grid: Grid
    compared: LinearImage | None = None
    _levels: dict[float, LinearImage] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_subject(cls, subject: Subject) -> LinearImage:
        """Return the prepared image of a subject."""
        compared = None if subject.compared is None else cls(subject.compared, subject.grid)
        return cls(subject.prepared.tensor, subject.grid, compared)

    @classmethod
    def whole(cls, subject: Subject) -> LinearImage:
        """Return the head in a subject's image as it was given: nothing is resampled."""
        image = cls.from_image(subject.image, subject.prepared.tensor.device).cropped_to_head()
        return replace(image, compared=cls.from_subject(subject).compared)

    @classmethod
    def from_image(cls, image: sitk.Image, device: torch.device, name: str = "the image") -> LinearImage:
        """Order the axes and scale the intensities; nothing is cropped or resampled."""
        image = canonical_image(checked_intensities(checked_image(image, name), name))
        values = tensor_from_array(sitk.GetArrayViewFromImage(image), device=device)[None, None]
        return cls(_scaled(values), grid_of_image(image))

    @property
    def slice_axis(self) -> int:
        """The array axis with the largest spacing."""
        return int(np.argmax(self.grid.spacing))

    @property
    def slice_thickness(self) -> float:
        """The largest spacing in mm."""
        return float(self.grid.spacing.max())

    @property
    def volume(self) -> float:
        """The volume of the field of view in mm3."""
        return float(np.prod(self.grid.spacing * self.grid.shape))

    def at(self, spacing: float) -> LinearImage:
        """Average voxels to about a spacing in mm along each axis that is finer; the result is kept."""
        if spacing not in self._levels:
            self._levels[spacing] = self._averaged(spacing)
        return self._levels[spacing]

    def _averaged(self, spacing: float) -> LinearImage:
        factors = np.maximum(1, np.floor(spacing / self.grid.spacing / FINER)).astype(int)
        factors = np.minimum(factors, self.grid.shape)
        tensor = self.tensor
        if factors.max() > 1:
            tensor = functional.avg_pool3d(tensor, tuple(int(factor) for factor in factors))
        to_old = np.diag([*factors.astype(float), 1.0])
        to_old[:3, 3] = (factors - 1) / 2.0
        grid = Grid(tuple(tensor.shape[2:]), self.grid.matrix @ to_old)
        return LinearImage(smooth(tensor, SIGMA), grid, self.compared)

    def cropped_to_head(self) -> LinearImage:
        """Return the bounding box of the head and its margin."""
        coarse = self.at(HEAD_SEARCH_SPACING)
        inside = array_from_tensor(torch.nonzero(coarse.head()))
        if len(inside) == 0:
            return self
        factors = coarse.grid.spacing / self.grid.spacing
        start = np.floor(inside.min(0) * factors).astype(int)
        stop = np.minimum(np.ceil((inside.max(0) + 1) * factors), self.grid.shape).astype(int)
        block = tuple(slice(int(first), int(last)) for first, last in zip(start, stop, strict=True))
        return LinearImage(self.tensor[(..., *block)].contiguous(), self.grid.cropped(start, stop - start))

    def head(self) -> torch.Tensor:
        """Return the voxels in the head and within a margin around it, (D, H, W)."""
        inside = (self.tensor > HEAD_INTENSITY).float()
        # Single bright voxels in the air are noise.
        inside = (functional.avg_pool3d(inside, 3, 1, 1) > 0.5).float()
        for axis, step in enumerate(self.grid.spacing):
            radius = int(HEAD_MARGIN_MM / step)
            window, padding = [1, 1, 1], [0, 0, 0]
            window[axis], padding[axis] = 2 * radius + 1, radius
            inside = functional.max_pool3d(inside, window, 1, padding)
        return inside[0, 0] > 0

    def is_compared(self, points: torch.Tensor) -> torch.Tensor:
        """Return whether the image may be compared at each of (N, 3) points in mm, (N,)."""
        if self.compared is None:
            return torch.ones(len(points), dtype=torch.bool, device=points.device)
        at_points = torch.zeros(1, 3, dtype=points.dtype, device=points.device)
        weights, _, inside = Interpolator(self.compared, at_points)(points)
        return inside & (weights > 0.5)

    def centre(self) -> np.ndarray:
        """Return the centre of the head in LPS mm; bright and dark voxels have the same weight."""
        coarse = self.at(HEAD_SEARCH_SPACING)
        inside = torch.nonzero(coarse.tensor[0, 0] > HEAD_INTENSITY)
        if len(inside) == 0:
            return coarse.grid.centre
        return Affine(coarse.grid.matrix).apply(array_from_tensor(inside.double().mean(0)))

    def positions(self, voxels: torch.Tensor) -> torch.Tensor:
        """Return the LPS positions in mm of voxels given by their indices: (N, 3) to (N, 3) doubles."""
        return voxels.double() @ self._matrix[:3, :3].T + self._matrix[:3, 3]

    @property
    def _matrix(self) -> torch.Tensor:
        return tensor_from_array(self.grid.matrix, device=self.tensor.device)


class Interpolator:
    """Intensities of an image at any points, interpolated linearly, and their exact derivatives.

    :param image: at one level.
    :param profile: (K, 3) offsets in mm over which values are averaged: the slice profile of the other image.
    """

    def __init__(self, image: LinearImage, profile: torch.Tensor) -> None:
        self.values = image.tensor.flatten()
        self.to_voxels = tensor_from_array(np.linalg.inv(image.grid.matrix), device=self.values.device)
        self.offsets = (profile @ self.to_voxels[:3, :3].T).float()
        self.image = image
        self.last = torch.tensor(image.grid.shape, device=self.values.device)[:, None] - 1.0
        self.strides = [image.grid.shape[1] * image.grid.shape[2], image.grid.shape[2], 1]
        a, b, c = self.strides
        # From a voxel to the corners of its cell: first along the last axis, then the middle, then the first.
        self.to_corners = torch.tensor([0, b, a, a + b, c, b + c, a + c, a + b + c], device=self.values.device)[:, None]

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return intensity, (N,), derivative per mm, (N, 3), and whether it is inside, (N,), at (N, 3) points in mm."""
        voxels = (self.to_voxels[:3, :3] @ points.T + self.to_voxels[:3, 3:]).float()
        inside = ((voxels > -0.5) & (voxels < self.last + 0.5)).all(dim=0)
        if self.image.compared is not None:
            inside = inside & self.image.is_compared(points)
        found = torch.stack([self._at(voxels + offset[:, None]) for offset in self.offsets]).mean(dim=0)
        return found[0], found[1:].T @ self.to_voxels[:3, :3].float(), inside

    def _at(self, voxels: torch.Tensor) -> torch.Tensor:
        """Return value and derivatives per voxel, (4, N), at (3, N) voxels; beyond its edge the image continues."""
        voxels = torch.minimum(voxels.clamp(min=0), self.last)
        first = torch.minimum(voxels.floor(), (self.last - 1).clamp(min=0))
        x, y, z = voxels - first
        corner = sum(first[axis].long() * stride for axis, stride in enumerate(self.strides))
        # One call for all corners: eight calls take three times as long.
        corners = self.values.index_select(0, (corner + self.to_corners).flatten()).view(8, -1)
        low, high = corners[:4], corners[4:]
        lines, along_z = torch.lerp(low, high, z), high - low
        (front, back), along_y = torch.lerp(lines[0::2], lines[1::2], y), lines[1::2] - lines[0::2]
        along_z = torch.lerp(along_z[0::2], along_z[1::2], y)
        return torch.stack(
            [torch.lerp(front, back, x), back - front, along_y[0].lerp(along_y[1], x), along_z[0].lerp(along_z[1], x)]
        )


def slice_profile(reference: LinearImage, other: LinearImage, pose: Affine, spacing: float) -> torch.Tensor:
    """Return offsets in mm, (K, 3), over which the other image is averaged to the thickness of the reference's slices.

    :param pose: reference points to points of the other image.
    :param spacing: of the level in mm; thinner slices need no average.
    """
    axis = reference.slice_axis
    direction = pose.linear @ (reference.grid.matrix[:3, axis] / reference.grid.spacing[axis])
    direction /= np.linalg.norm(direction)
    # The extent of the other image's voxels along the direction of the slices.
    units = other.grid.matrix[:3, :3] / other.grid.spacing
    own = max(spacing, float(np.abs(units.T @ direction) @ other.grid.spacing))
    excess = np.sqrt(max(0.0, reference.slice_thickness**2 - own**2))
    count = 1 if excess < 0.5 * own else int(np.ceil(excess / max(own, 1.0))) + 1
    places = (np.arange(count) - (count - 1) / 2) / count * excess
    return tensor_from_array(places[:, None] * direction, device=reference.tensor.device)


def _scaled(values: torch.Tensor) -> torch.Tensor:
    """Scale from 0, the background, to 1, the brightest tissue, and clip."""
    some = array_from_tensor(values.flatten()[:: max(1, values.numel() // 200_000)])
    low = float(np.percentile(some, 0.5))
    bright = float(np.percentile(some, 99.9))
    tissue = some[some > low + 0.05 * (bright - low)]
    high = float(np.percentile(tissue, 99.5)) if tissue.size else bright
    return ((values - low) / (high - low if high > low else 1.0)).clamp_(0.0, 1.0)
