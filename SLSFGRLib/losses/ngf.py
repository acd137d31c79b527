"""Normalised gradient fields (NGF; Haber & Modersitzki 2006): whether the edges of two images are parallel."""

from __future__ import annotations

import torch

from ..spatial.fields import central_differences


class NormalisedGradients:
    """The dissimilarity ``1 - cos^2`` of the angle between the images' gradients, whatever the sign of the contrast.

    :param spacing: size of a voxel along each array axis; derivatives are divided by it.
    :param noise: fraction of an image's mean gradient below which an edge counts as noise.
    """

    def __init__(self, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), noise: float = 0.5) -> None:
        self.spacing = spacing
        self.noise = noise

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the mean over voxels and batch for (B, 1, D, H, W) images."""
        first, second = self._directions(warped.float()), self._directions(fixed.float())
        return (1.0 - (first * second).sum(1).square()).mean()

    def _directions(self, image: torch.Tensor) -> torch.Tensor:
        spacing = image.new_tensor(self.spacing).view(1, 3, 1, 1, 1)
        gradient = central_differences(image)[:, 0] / spacing
        energy = gradient.square().sum(1, keepdim=True)
        threshold = self.noise * (energy + 1e-20).sqrt().mean(dim=(1, 2, 3, 4), keepdim=True)
        # The noise level is a constant of the optimisation.
        return gradient / (energy + threshold.detach().square() + 1e-20).sqrt()
