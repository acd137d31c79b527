"""Estimate the bias field of an image and the intensities of its structures, each with the other's help.

The bias field is the smooth factor by which the signal varies over the head. In a PD image it changes intensities by
more than GM and WM differ. The segmentation predicts an image in which each structure has its mean intensity. The bias
field is the smooth factor by which this image fits the given one best (Wells et al. 1996; Van Leemput et al. 1999, with
the network in the place of the atlas).
"""

from __future__ import annotations

import torch

from ..spatial.fields import block_means, resize_blocks, resize_image
from .intensity_model import ITERATIONS, IntensityModel, Mixture

# Standard deviation of the Gaussian that smooths the field; chosen on rendered heads (docs/develop/experiments.md).
SIGMA_MM = 12.0
# The field is computed on a grid this much coarser than the segmentation's.
COARSENING = 4
# Weight of a factor of 1, relative to where the structures are surest: far from the brain nothing is known.
PRIOR_WEIGHT = 0.02
# Iterations with the field, after those of the intensities alone.
ROUNDS = 6


def fit_with_bias_field(
    posteriors: torch.Tensor, image: torch.Tensor, spacing: float
) -> tuple[IntensityModel, torch.Tensor]:
    """Return the intensities of the structures in an image without its bias field, and the bias field.

    :param posteriors: (1, K, d, h, w), of the channels of the label table.
    :param image: (1, 1, d, h, w), from 0 to 1, on the same grid.
    :param spacing: of this grid, in mm.
    :returns: the field has the image's shape and a mean of 1 in the brain; it tends to 1 far from it.
    """
    mixture, field = Mixture.of(posteriors), torch.ones_like(image)
    given = mixture.values(image)
    values, found, inside = given, mixture.expected, mixture.expected[0] < 0.5
    for iteration in range(ITERATIONS + ROUNDS):
        model = IntensityModel.weighted(found, values)
        found = mixture.posteriors(model, values)
        if iteration >= ITERATIONS and inside.any():
            predicted, certainty = _predicted(found, mixture.expected[0], model)
            images = (_on_grid(mixture, part, image) for part in (predicted, certainty))
            field = _smooth_ratio(image, *images, spacing)
            field /= mixture.values(field)[inside].mean()
            values = given / mixture.values(field)
    return model.of_channels(), field


def without_bias_field(image: torch.Tensor, bias_field: torch.Tensor) -> torch.Tensor:
    """Return an image, from 0 to 1, without a bias field that is given on a coarser grid."""
    return (image / resize_image(bias_field, image.shape[2:])).clamp_(max=1.0)


def _predicted(
    found: torch.Tensor, background: torch.Tensor, model: IntensityModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the intensity that each voxel should have, and how much is known of it, (N,) each.

    :param found: (C, N), the posteriors of the components.
    :param background: (N,), its posterior by the network alone.
    """
    structures = found[1:] * (1.0 - background)
    # A voxel between two structures says little.
    return model.mean[1:] @ structures, structures.square().sum(dim=0)


def _on_grid(mixture: Mixture, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return values of the mixture's voxels as an image, 0 elsewhere."""
    return torch.zeros_like(like).flatten().index_copy_(0, mixture.used, values).view_as(like)


def _smooth_ratio(
    image: torch.Tensor, predicted: torch.Tensor, certainty: torch.Tensor, spacing: float
) -> torch.Tensor:
    """Return the smooth factor of the predicted image that fits the image best, by weighted least squares."""
    products = torch.cat([certainty * image * predicted, certainty * predicted.square()], dim=1)
    numerator, denominator = block_means(products, COARSENING, SIGMA_MM / (COARSENING * spacing)).split(1, dim=1)
    prior = PRIOR_WEIGHT * denominator.max()
    return resize_blocks((numerator + prior) / (denominator + prior), image.shape[2:], COARSENING)
