"""What a user may choose for a registration, and what follows from it before the images are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..models.model import Model
from ..modes import AFFINE, AUTO, DEFORMABLE, RIGID
from ..spatial.affine import Affine
from .fixed_brain import FixedBrain
from .regions import Regions

# Maximum deviation in mm of an initial transform from an affine one.
MAX_NONLINEARITY_MM = 0.5


@dataclass(frozen=True)
class Settings:
    """What a user may choose; see :func:`.pipeline.register`."""

    transform: str
    mode: str
    start: Affine | None
    affine: bool
    moving_labels: sitk.Image | None
    model: Model | None
    start_from_segmentation: bool
    regions: tuple[Regions, Regions]
    fixed_brain: FixedBrain

    @property
    def is_linear_wanted(self) -> bool:
        """Whether a rigid or affine transform was chosen: the images alone give it, the structures are not needed."""
        return self.transform in (RIGID, AFFINE)

    @property
    def describes_brains(self) -> bool:
        """Whether the chosen model segments, too, and registers by what it has found in each brain."""
        return self.model is not None and self.model.describes_brains

    @property
    def implied(self) -> str:
        """Why what was chosen beside the transform needs a deformation, a sentence; empty if it does not."""
        if self.model is not None:
            return "you chose a model, which finds a deformation."
        return "" if self.affine else "without the affine registration only a deformation is left to find."

    def stage_weights(self, segmenting: bool) -> dict[str, float]:
        """Return the share of each stage in the time: seconds on 1 mm brains with two CPU cores (docs/benchmarks.md).

        :param segmenting: whether the images are segmented.
        """
        weights = {"Preparing the images": 0.3}
        if segmenting:
            weights["Segmenting"] = 1.8
        if self.affine:
            weights["Aligning the heads"] = 0.7
        if self.transform in (AUTO, DEFORMABLE):
            weights["Deforming"], weights["Inverting the transform"] = {
                "fast": (0.8, 0.1),
                "standard": (7.5, 1.2),
                "accurate": (12.0, 1.2),
            }[self.mode]
        return weights | {"Writing into the images' space": 0.5}


def linear_start(transform: sitk.Transform | None, fixed: sitk.Image) -> Affine | None:
    """Return an initial transform as an affine one.

    :raises InputError: the transform is not linear.
    """
    if transform is None:
        return None
    middle = [(size - 1) / 2.0 for size in fixed.GetSize()[:3]]
    centre = fixed.TransformContinuousIndexToPhysicalPoint([*middle, *[0.0] * (fixed.GetDimension() - 3)])[:3]
    start, deviation = Affine.fit(transform, np.array(centre))
    if deviation > MAX_NONLINEARITY_MM:
        raise InputError("the initial transform is not linear; give a rigid or affine one.")
    return start
