"""The result of a registration."""

from __future__ import annotations

from dataclasses import dataclass, field

import SimpleITK as sitk


@dataclass
class RegistrationResult:
    """What a registration gives.

    :param warped: the moving image on the fixed image's grid, in the moving image's pixel type.
    :param transform: points of the fixed image to points of the moving image, LPS mm; resamples the moving
        image onto the fixed one.
    :param inverse_transform: points of the moving image to points of the fixed image.
    :param fixed_labels: label map on the fixed grid, or None without a label map for the moving image.
    :param moving_labels: label map on the moving grid, or None.
    :param report: figures, as in ``report.json``.
    """

    warped: sitk.Image
    transform: sitk.CompositeTransform
    inverse_transform: sitk.CompositeTransform
    fixed_labels: sitk.Image | None = None
    moving_labels: sitk.Image | None = None
    report: dict = field(default_factory=dict)
