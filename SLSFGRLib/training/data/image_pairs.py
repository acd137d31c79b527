"""The images of a training run: prepared, affinely aligned and augmented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import InputError
from ...io.images import read_image
from ...preprocessing import PreparedImage, prepare
from ...registration.affine_optimisation import optimise_affine
from ...spatial.affine import Affine
from ...spatial.fields import compose, warp
from ...spatial.grid import Grid
from ...spatial.warping import AffineWarper
from ...synthesis import LabelMap, Synthesis, Synthesiser
from ...synthesis.acquisition import random_gamma
from ...synthesis.deformations import centred_points, random_elastic_deformation
from ...synthesis.poses import random_affine
from ..sections import Augmentation

# Around a brain, so that a deformation does not move it out of its grid.
MARGIN_MM = 8.0
# Field of view of an image made from a label map: room for an adult brain.
RENDERED_MM = (176.0, 208.0, 176.0)


def load_images(files: list[Path], spacing: float, multiple: int) -> list[PreparedImage]:
    """Prepare images; the first one's grid has room for the others and sizes that are multiples of ``multiple``.

    :param spacing: of the voxels, in mm.
    :raises InputError: a file cannot be read.
    """
    rooms = [{"margin": MARGIN_MM, "multiple": multiple}] + [{}] * (len(files) - 1)
    return [prepare(read_image(file), str(file), spacing, **room) for file, room in zip(files, rooms, strict=True)]


def render_images(
    maps: list[LabelMap], synthesis: Synthesis, spacing: float, generator: torch.Generator
) -> list[PreparedImage]:
    """Make one image from each label map, as if it had been read from a file."""
    shape = tuple(round(length / spacing / 8) * 8 for length in RENDERED_MM)
    synthesiser = Synthesiser(synthesis, shape, spacing)
    images = (synthesiser.sample([label_map], generator).image for label_map in maps)
    return [PreparedImage(image, Grid.upright(shape, spacing)) for image in images]


def align_images(images: list[PreparedImage], update: Callable[[float], None]) -> torch.Tensor:
    """Bring all images to the first by an affine registration.

    :param update: called with the fraction done.
    :returns: (number of images, 1, D, H, W).
    :raises InputError: there are fewer than two.
    """
    if len(images) < 2:
        raise InputError("training needs at least two images; add more to the recipe's [data] training.")
    reference = images[0]
    aligned = [reference.tensor]
    for number, moving in enumerate(images[1:], start=1):
        update(number / len(images))
        aligned.append(resample(moving, optimise_affine(reference, moving), reference.grid))
    return torch.cat(aligned)


@torch.no_grad()
def resample(moving: PreparedImage, affine: Affine, grid: Grid) -> torch.Tensor:
    """Resample an image to a grid.

    :param affine: points of the grid to points of the moving image.
    :returns: (1, 1, D, H, W).
    """
    warper = AffineWarper(moving.tensor, affine.in_voxels(grid, moving.grid), grid.shape, 1)
    return warper(torch.zeros(1, 3, *grid.shape))


def draw_pair(
    images: torch.Tensor, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw two different images, and augment each independently.

    :param images: (N, 1, D, H, W).
    :returns: moving and fixed, (1, 1, D, H, W) each.
    """
    first, second = torch.randperm(len(images), generator=generator)[:2].tolist()
    moving, fixed = (augment(images[index : index + 1], augmentation, spacing, generator) for index in (first, second))
    return moving, fixed


def augment(
    image: torch.Tensor, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> torch.Tensor:
    """Deform, move and gamma-correct an image (1, 1, D, H, W) at random."""
    field = random_field(image.shape[2:], augmentation, spacing, generator).to(image.device)
    return random_gamma(warp(image, field), augmentation.gamma, generator)


def random_field(
    shape: torch.Size, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw an elastic deformation and an affine map about the centre, as one field, (1, 3, D, H, W) in voxels."""
    deformation = random_elastic_deformation(shape, augmentation.deformation_mm / spacing, generator)
    affine = random_affine(augmentation.rotation_degrees, augmentation.scale, 0.0, augmentation.shift_mm, generator)
    points = centred_points(shape, spacing)
    return compose((affine(points) - points) / spacing, deformation)
