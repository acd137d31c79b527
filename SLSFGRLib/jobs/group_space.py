"""The space of a group template, as plain values that every process understands, and the arrays kept between steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..spatial.grid import Grid, image_from_array

# Registrations work at this spacing in mm, as their prepared images do.
WORKING_SPACING = 1.0
# Intensities from 0 to 1 are kept as whole numbers up to this.
INTENSITY_STEPS = 65535


@dataclass(frozen=True)
class GroupSpace:
    """Where the voxels of a group template lie.

    :param shape: of the grid of all registrations, which is upright at 1 mm.
    :param centre: of both grids, LPS mm.
    :param spacing: of the template as it is written, in mm.
    """

    shape: tuple[int, int, int]
    centre: tuple[float, float, float]
    spacing: float

    @classmethod
    def around(cls, lower: np.ndarray, upper: np.ndarray, spacing: float, multiple: int) -> GroupSpace:
        """Return the space of a box.

        :param lower, upper: its corners, LPS mm.
        :param multiple: sizes of the working grid are multiples of this.
        """
        sides = np.ceil((upper - lower)[::-1] / WORKING_SPACING / multiple).astype(int) * multiple
        return cls(tuple(sides.tolist()), tuple(((lower + upper) / 2.0).tolist()), spacing)

    @property
    def working(self) -> Grid:
        """The grid of all registrations."""
        return Grid.upright(self.shape, WORKING_SPACING, self.centre)

    @property
    def written(self) -> Grid:
        """The grid of the template as it is written."""
        sides = np.ceil(np.array(self.shape) * WORKING_SPACING / self.spacing - 1e-6).astype(int)
        return Grid.upright(sides, self.spacing, self.centre)

    def settings(self) -> dict:
        """Return plain values that :meth:`from_settings` reads."""
        return {"shape": list(self.shape), "centre": list(self.centre), "spacing": self.spacing}

    @classmethod
    def from_settings(cls, settings: Mapping) -> GroupSpace:
        """Undo :meth:`settings`."""
        return cls(tuple(settings["shape"]), tuple(settings["centre"]), settings["spacing"])

    def image(self, array: np.ndarray) -> sitk.Image:
        """Return an array on the working grid as an image on the written one."""
        image = image_from_array(array, self.working)
        if self.spacing == WORKING_SPACING:
            return image
        blank = image_from_array(np.zeros(self.written.shape, np.uint8), self.written)
        identity = sitk.Transform(3, sitk.sitkIdentity)
        return sitk.Resample(image, blank, identity, sitk.sitkLinear, 0.0, image.GetPixelID())


def keep_intensities(array: np.ndarray, path: Path) -> None:
    """Write intensities from 0 to 1 in half of their room."""
    np.save(path, np.round(np.clip(array, 0.0, 1.0) * INTENSITY_STEPS).astype(np.uint16))


def kept_intensities(path: Path) -> np.ndarray:
    """Read what :func:`keep_intensities` wrote, as 32-bit floats."""
    return np.load(path).astype(np.float32) / INTENSITY_STEPS
