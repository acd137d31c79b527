"""The running mean of warped images and of the fields that warped them: the core of an unbiased template.

Its memory does not grow with the number of images.
"""

from __future__ import annotations

import torch

from .fields import invert, resize_field, warp


class ShapeMean:
    """The mean of images in intensity and in shape.

    Each image was warped to a common space by a field of its own. Their mean has that space's shape. Without the mean
    of the fields it has the mean shape of the images. B. Avants & J. Gee: Geodesic estimation for large deformation
    anatomical shape averaging and interpolation. NeuroImage 23, 2004.
    """

    def __init__(self) -> None:
        self.count = 0
        self._image = self._field = torch.zeros(())

    def add(self, warped: torch.Tensor, field: torch.Tensor) -> None:
        """Add an image.

        :param warped: (1, C, D, H, W).
        :param field: that it was warped by, (1, 3, d, h, w) in its voxels, over the same box.
        """
        self.count += 1
        # Double precision, so that the order of the images does not matter.
        self._image = self._image + warped.double()
        self._field = self._field + field.double()

    @property
    def field(self) -> torch.Tensor:
        """The mean of the fields, (1, 3, d, h, w) in its voxels."""
        return (self._field / self.count).float()

    def centred(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean image in the mean shape, and the field from that shape to the common space."""
        to_common, _ = invert(self.field)
        image = (self._image / self.count).float()
        return warp(image, resize_field(to_common, image.shape[2:])), to_common
