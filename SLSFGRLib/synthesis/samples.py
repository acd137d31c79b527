"""Training samples: an image and what it shows, or a pair of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..io.label_table import read_label_table
from ..spatial.fields import smooth
from .acquisition import acquired, brain_mask, cut, scaled
from .contrasts import Contrast, draw_contrast, typical_contrast
from .deformations import random_positions, sample_classes
from .label_maps import LabelMap
from .poses import Pose, random_pose, residual_pose
from .rng import chance, signed, uniform, whole_number
from .settings import Synthesis
from .tissue_contrasts import LOOKS, classes
from .ultrasound import insonified

CHANNELS = len(read_label_table()) + 1
FLUID_AROUND = "cerebrospinal fluid"
# Of stripped brains: how many have no fluid around them, and how far from the brain the others have it.
WITHOUT_FLUID_CHANCE = 0.4
FLUID_REACH_MM = 4.0


@dataclass(frozen=True)
class Sample:
    """An image made from a label map.

    :param image: (1, 1, D, H, W), from 0 to 1 as a prepared image.
    :param labels: (8, D, H, W) uint8: the channel of the label table in each eighth of a voxel, of what the
        image shows; where it was cut or the skull and the fluid removed, there is background.
    :param anatomy: the same of the whole brain, seen or not.
    :param contrast: what the image was rendered with.
    :param number: of the map it was made from.
    """

    image: torch.Tensor
    labels: torch.Tensor
    anatomy: torch.Tensor
    contrast: Contrast
    number: int


@dataclass(frozen=True)
class Pair:
    """Two images to register.

    :param moving_reference: (1, 1, D, H, W), the moving brain, whole and without flaws, in a contrast that it
        has in common with ``fixed_reference``: they may be compared whatever the images look like.
    """

    moving: Sample
    fixed: Sample
    moving_reference: torch.Tensor
    fixed_reference: torch.Tensor


def draw_sample(
    maps: Sequence[LabelMap],
    shape: Sequence[int],
    synthesis: Synthesis,
    generator: torch.Generator,
    spacing: float = 2.0,
) -> Sample:
    """Draw an image.

    :param maps: one of them is taken; all on the device that the sample is to be on.
    :param shape: of the grid; the brain's middle is near its middle.
    :param generator: on the CPU; decides everything.
    :param spacing: of the grid, in mm.
    """
    number = whole_number(generator, len(maps))
    pose = random_pose(synthesis, generator)
    return _sample(maps, number, shape, pose, draw_contrast(synthesis, generator), synthesis, generator, spacing)


def draw_pair(
    maps: Sequence[LabelMap],
    shape: Sequence[int],
    synthesis: Synthesis,
    generator: torch.Generator,
    spacing: float = 2.0,
) -> Pair:
    """Draw two images of different anatomies, or sometimes of one that is deformed twice; aligned but for a little.

    :param maps: one or more, :func:`label_maps.in_one_frame`; for the other parameters see :func:`draw_sample`.
    """
    first = whole_number(generator, len(maps))
    second = (first + 1 + whole_number(generator, max(1, len(maps) - 1))) % len(maps)
    if chance(generator, synthesis.same_anatomy_chance):
        second = first
    contrast = draw_contrast(synthesis, generator)
    other = contrast
    if not chance(generator, synthesis.same_contrast_chance):
        other = draw_contrast(synthesis, generator, contrast.name if synthesis.unlike_contrasts else None)
    pose = random_pose(synthesis, generator)
    moving, fixed = (
        _sample(
            maps, number, shape, residual_pose(synthesis, generator).after(pose), look, synthesis, generator, spacing
        )
        for number, look in ((first, contrast), (second, other))
    )
    return Pair(moving, fixed, reference(moving.anatomy), reference(fixed.anatomy))


def draw_group(
    maps: Sequence[LabelMap],
    shape: Sequence[int],
    synthesis: Synthesis,
    generator: torch.Generator,
    count: int,
    spacing: float = 2.0,
) -> list[Sample]:
    """Draw images of any anatomies and contrasts that are aligned but for a little, as those of a pair are.

    :param maps: :func:`label_maps.in_one_frame`; for the other parameters see :func:`draw_sample`.
    """
    pose = random_pose(synthesis, generator)
    return [
        _sample(
            maps,
            whole_number(generator, len(maps)),
            shape,
            residual_pose(synthesis, generator).after(pose),
            draw_contrast(synthesis, generator),
            synthesis,
            generator,
            spacing,
        )
        for _ in range(count)
    ]


def reference(anatomy: torch.Tensor) -> torch.Tensor:
    """A brain in a typical T1 contrast without noise or bias, (1, 1, D, H, W).

    :param anatomy: (8, D, H, W) uint8, channels.
    """
    return _rendered(anatomy, typical_contrast("t1").brightness[:CHANNELS])


def fractions(labels: torch.Tensor) -> torch.Tensor:
    """The part of each voxel that each channel fills: (8, D, H, W) uint8 to (1, CHANNELS, D, H, W)."""
    out = torch.zeros((CHANNELS, *labels.shape[1:]), device=labels.device)
    part = torch.full((1, *labels.shape[1:]), 1.0 / len(labels), device=labels.device)
    for octant in labels:
        out.scatter_add_(0, octant[None].long(), part)
    return out[None]


def _sample(
    maps: Sequence[LabelMap],
    number: int,
    shape: Sequence[int],
    pose: Pose,
    contrast: Contrast,
    synthesis: Synthesis,
    generator: torch.Generator,
    spacing: float,
) -> Sample:
    heads = maps[number]
    device = heads.classes.device
    flipped = chance(generator, synthesis.flip_chance)
    positions = random_positions(shape, spacing, synthesis, pose, generator, device)
    kinds = sample_classes(heads, positions, spacing, flipped)
    anatomy = _looked_up(kinds, torch.from_numpy(classes().mirrored_channel if flipped else classes().channel))
    ideal, spread = _rendered(kinds, contrast.brightness), _rendered(kinds, contrast.texture)
    if contrast.name == "ultrasound":
        ideal = insonified(ideal, spacing, generator)
    image = acquired(ideal, spread, spacing, synthesis, generator)
    left = torch.ones_like(image)
    if chance(generator, synthesis.strip_chance):
        left = _left_by_stripping(kinds, spacing, synthesis, generator)
    image, seen = cut(image * left, spacing, synthesis, generator)
    labels = anatomy * (left * seen > 0.5)[0]
    exponent = math.exp(synthesis.gamma * float(signed(generator, 1)))
    return Sample(scaled(image) ** exponent, labels, anatomy, contrast, number)


def _left_by_stripping(
    kinds: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """Where the brain is, without the fluid around it or with some: the part of each voxel, (1, 1, D, H, W)."""
    table = classes()
    inside = torch.tensor([LOOKS[name].group not in ("outside", "background") for name in table.names])
    around = torch.tensor([name == FLUID_AROUND for name in table.names])
    tissue = _rendered(kinds, (inside & ~around).float())
    if chance(generator, WITHOUT_FLUID_CHANCE):
        return brain_mask(tissue, spacing, synthesis, generator)
    near = smooth(tissue, FLUID_REACH_MM / spacing) > uniform(generator, 0.02, 0.4)
    return brain_mask(_rendered(kinds, inside.float()) * near, spacing, synthesis, generator)


def _looked_up(kinds: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The value that a table has for each class, in the shape of ``kinds``."""
    return table.to(kinds.device).index_select(0, kinds.flatten().int()).view(kinds.shape)


def _rendered(kinds: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The mean over the eighths of each voxel of what a table has for their classes, (1, 1, D, H, W)."""
    total = torch.zeros(kinds.shape[1:], device=kinds.device)
    for octant in kinds:
        total += _looked_up(octant, table)
    return (total / len(kinds))[None, None]
