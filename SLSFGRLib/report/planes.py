"""The three planes through the middle of the head that the pictures of a report show.

All follow the radiological convention: the patient's right is on the left; anterior or superior is at the top. Pixels
are square in millimetres, whatever the voxels are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from PIL import Image

from ..spatial.grid import Grid

# Of a picture, in pixels, and of the space around each panel.
WIDTH = 960
GAP = 12
# Shown around the head, in mm.
MARGIN = 8.0
# Height below the top of the head that is shown, in mm: the brain without the neck.
HEIGHT = 150.0


@dataclass(frozen=True)
class Plane:
    """One of the three planes through an array whose axes run towards superior, posterior and left.

    :param axis: the array axis that the plane is perpendicular to.
    :param flipped: whether the last row of the array is shown at the top.
    :param sides: letters for the left and the right edge of the picture.
    """

    axis: int
    flipped: bool
    sides: tuple[str, str]


PLANES = (Plane(0, False, ("R", "L")), Plane(1, True, ("R", "L")), Plane(2, True, ("A", "P")))


@dataclass(frozen=True)
class Layout:
    """The part of the fixed image that is shown, the positions of the planes, and the magnification.

    :param start: first voxel shown along each array axis.
    :param stop: one past the last voxel shown.
    :param cut: along each array axis, the voxel through which the plane perpendicular to it passes.
    :param scale: pixels per mm.
    """

    grid: Grid
    start: tuple[int, ...]
    stop: tuple[int, ...]
    cut: tuple[int, ...]
    scale: float

    @classmethod
    def around(cls, head: np.ndarray, grid: Grid) -> Layout:
        """Show the bounding box of the upper part of the head, and cut through its centre of mass.

        :param head: (D, H, W), whether each voxel belongs to the head.
        """
        levels = _occupied(np.count_nonzero(head, axis=(1, 2)))
        lowest = max(levels[-1] - int(HEIGHT / grid.spacing[0]), levels[0])
        start, stop, cut = [], [], []
        for axis in range(3):
            profile = np.count_nonzero(head[lowest:], axis=tuple({0, 1, 2} - {axis}))
            used = _occupied(profile)
            weights = profile[used] if profile.any() else None
            shift = lowest if axis == 0 else 0
            margin = int(np.ceil(MARGIN / grid.spacing[axis]))
            start.append(max(int(used[0]) + shift - margin, 0))
            stop.append(min(int(used[-1]) + shift + 1 + margin, grid.shape[axis]))
            cut.append(round(float(np.average(used, weights=weights))) + shift)
        _, rows, columns = (np.array(stop) - start) * grid.spacing
        # The axial and the coronal panel are as wide as the head, the sagittal one is as wide as the head is long.
        scale = (WIDTH - 4 * GAP) / (2 * columns + rows)
        return cls(grid, tuple(start), tuple(stop), tuple(cut), scale)

    def shape(self, plane: Plane) -> tuple[int, int]:
        """Return the rows and columns of the picture of a plane."""
        lengths = (np.array(self.stop) - self.start) * self.grid.spacing * self.scale
        rows, columns = np.maximum(np.floor(np.delete(lengths, plane.axis)), 1).astype(int)
        return int(rows), int(columns)

    def panel(self, plane: Plane, array: np.ndarray) -> np.ndarray:
        """Cut a plane out of an array on the fixed grid and return it as it is shown."""
        box = [slice(first, last) for first, last in zip(self.start, self.stop, strict=True)]
        box[plane.axis] = self.cut[plane.axis]
        return self.shown(plane, array[tuple(box)])

    def shown(self, plane: Plane, values: np.ndarray) -> np.ndarray:
        """Turn the values of the voxels of a plane upright and enlarge them by linear interpolation.

        :param values: (rows, columns) or (rows, columns, channels).
        """
        values = np.asarray(values[::-1] if plane.flipped else values, np.float32)
        rows, columns = self.shape(plane)

        def enlarge(channel: np.ndarray) -> np.ndarray:
            return np.asarray(Image.fromarray(channel).resize((columns, rows), Image.Resampling.BILINEAR))

        if values.ndim == 2:
            return enlarge(values)
        return np.stack([enlarge(np.ascontiguousarray(channel)) for channel in np.moveaxis(values, -1, 0)], axis=-1)

    def voxels(self, plane: Plane, margin: int = 0) -> Grid:
        """Return the grid of the voxels shown of a plane.

        :param margin: so many more voxels on each side, such as one for finite differences.
        """
        start, stop = np.array(self.start), np.array(self.stop)
        start[plane.axis] = self.cut[plane.axis]
        stop[plane.axis] = self.cut[plane.axis] + 1
        return self.grid.cropped(start - margin, stop - start + 2 * margin)


def _occupied(profile: np.ndarray) -> np.ndarray:
    """Return the positions along an axis that hold part of the head, without a few bright voxels far from it."""
    return np.flatnonzero(profile >= 0.005 * profile.max())


def finite(array: np.ndarray) -> np.ndarray:
    """Return an array in which voxels that are not a number have the smallest value."""
    if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=float)):
        return array
    finite = np.isfinite(array)
    return np.where(finite, array, array[finite].min() if finite.any() else 0)


def head_mask(array: np.ndarray) -> np.ndarray:
    """Return which voxels belong to the head, by half of Otsu's threshold: that keeps dark grey matter and CSF."""
    sample = np.ascontiguousarray(array[::2, ::2, ::2])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(sample))
    background = float(np.percentile(sample, 1))
    return array > background + 0.5 * (otsu.GetThreshold() - background)


def intensity_window(array: np.ndarray) -> tuple[float, float]:
    """Return the intensities to show as black and as white."""
    sample = array[::2, ::2, ::2]
    low = float(np.percentile(sample, 1))
    above = sample[sample > low]
    return low, float(np.percentile(above, 99.5)) if above.size else low + 1.0
