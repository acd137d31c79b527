"""The images of a training run: prepared, aligned to one another and changed at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import InputError
from ...io.images import read_image
from ...preprocessing import PreparedImage, prepare
from ...registration.affine import align
from ...spatial.fields import compose, integrate, resize_image, voxel_grid, warp
from ...spatial.grid import Grid, voxel_to_voxel
from ...spatial.warping import AffineWarper
from ...synthesis import LabelMap, Synthesis, draw_sample
from ..recipe import Augmentation

# Control points along each axis of a random deformation.
KNOTS = 7
# Room for a brain in an image made from a label map.
RENDERED_MM = (176.0, 208.0, 176.0)


def load_images(files: list[Path], spacing: float, multiple: int) -> list[PreparedImage]:
    """Prepare images; the first one's grid has room for the others and sizes that are multiples of ``multiple``.

    :param spacing: of the voxels, in mm.
    :raises InputError: a file cannot be read.
    """
    rooms = [{"margin": 8.0, "multiple": multiple}] + [{}] * (len(files) - 1)
    return [prepare(read_image(file), str(file), spacing, **room) for file, room in zip(files, rooms, strict=True)]


def render_images(
    maps: list[LabelMap], synthesis: Synthesis, spacing: float, generator: torch.Generator
) -> list[PreparedImage]:
    """Make one image from each label map, as though it had been read from a file."""
    shape = tuple(round(length / spacing / 8) * 8 for length in RENDERED_MM)
    images = (draw_sample([heads], shape, synthesis, generator, spacing).image for heads in maps)
    return [PreparedImage(image, Grid.upright(shape, spacing)) for image in images]


def aligned(images: list[PreparedImage], update: Callable[[float], None]) -> torch.Tensor:
    """Bring all images to the first by an affine alignment.

    :param update: called with the fraction done.
    :returns: (number of images, 1, D, H, W).
    :raises InputError: there are fewer than two.
    """
    if len(images) < 2:
        raise InputError("training needs at least two images; add more to the recipe's [data] training.")
    reference = images[0]
    together = [reference.tensor]
    for number, moving in enumerate(images[1:], start=1):
        update(number / len(images))
        matrix = voxel_to_voxel(align(reference, moving), reference.grid, moving.grid)
        warper = AffineWarper(moving.tensor, matrix, reference.grid.shape, 1)
        with torch.no_grad():
            together.append(warper(torch.zeros(1, 3, *reference.grid.shape)))
    return torch.cat(together)


def draw_pair(
    images: torch.Tensor, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two different images, each changed at random on its own.

    :param images: (N, 1, D, H, W).
    :returns: moving and fixed, (1, 1, D, H, W) each.
    """
    first, second = torch.randperm(len(images), generator=generator)[:2].tolist()
    moving, fixed = (changed(images[index : index + 1], augmentation, spacing, generator) for index in (first, second))
    return moving, fixed


def changed(
    image: torch.Tensor, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> torch.Tensor:
    """One image (1, 1, D, H, W) deformed, moved and re-scaled in intensity at random."""
    field = random_field(image.shape[2:], augmentation, spacing, generator).to(image.device)
    return bent_intensities(warp(image, field), augmentation, generator)


def random_field(
    shape: torch.Size, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> torch.Tensor:
    """A random deformation and a random affine transformation about the middle, (1, 3, D, H, W) in voxels."""
    deformation = _random_deformation(shape, augmentation.deformation_mm / spacing, generator)
    return compose(_random_affine(shape, augmentation, spacing, generator), deformation)


def bent_intensities(image: torch.Tensor, augmentation: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """An image in [0, 1] with a random exponent to its intensities."""
    exponent = math.exp(augmentation.gamma * (2.0 * _uniform(generator) - 1.0))
    return image.clamp(0, 1) ** exponent


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _random_deformation(shape: torch.Size, deviation: float, generator: torch.Generator) -> torch.Tensor:
    """A smooth diffeomorphism with displacements of about ``deviation`` voxels."""
    knots = torch.randn(1, 3, KNOTS, KNOTS, KNOTS, generator=generator)
    return integrate(resize_image(knots, shape) * deviation, steps=5)


def _random_affine(
    shape: torch.Size, augmentation: Augmentation, spacing: float, generator: torch.Generator
) -> torch.Tensor:
    """The field of a small random rotation, scaling and shift about the middle."""
    draw = 2.0 * torch.rand(3, 3, generator=generator) - 1.0
    x, y, z = (draw[0] * math.radians(augmentation.rotation_degrees)).tolist()
    rotation = torch.matrix_exp(torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]))
    linear = rotation * (1.0 + augmentation.scale * draw[1])
    centre = torch.tensor([(size - 1) / 2.0 for size in shape]).view(1, 3, 1, 1, 1)
    offset = voxel_grid(shape) - centre
    shift = (augmentation.shift_mm / spacing * draw[2]).view(1, 3, 1, 1, 1)
    return torch.einsum("rc,bcdhw->brdhw", linear, offset) - offset + shift
