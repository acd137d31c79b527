"""Pairs of images with corresponding labels: made from label maps, or the user's own cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from .. import synthesis
from ..affine import align
from ..coordinates import voxel_to_voxel
from ..deformation import AffineWarper
from ..errors import InputError
from ..fields import warp
from ..images import read_image
from ..preparation import prepare
from ..synthesis import LabelMap, Synthesis
from .cases import bent_intensities, random_field
from .label_files import Label, corresponding_labels
from .labelled_cases import CaseFiles
from .recipe import Augmentation

# Decides the held-out pairs that are made from label maps, whatever the recipe's seed: runs stay comparable.
VALIDATION_SEED = 20_260_000
# Each held-out map is seen so many times, each time with another contrast.
VALIDATION_ROUNDS = 2
MARGIN_MM = 8.0


@dataclass(frozen=True)
class DrawnPair:
    """Images to register, and labels to judge by.

    :param moving: (B, 1, D, H, W) in [0, 1].
    :param fixed: likewise.
    :param moving_labels: (B, L, D, H, W), the part of each voxel that each label fills.
    :param fixed_labels: likewise.
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    moving_labels: torch.Tensor
    fixed_labels: torch.Tensor

    def to(self, device: torch.device) -> DrawnPair:
        """The same on another device."""
        return DrawnPair(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def both_ways(self) -> DrawnPair:
        """The pair, and the same with the images' parts exchanged, as a batch."""
        images, labels = (self.moving, self.fixed), (self.moving_labels, self.fixed_labels)
        return DrawnPair(*(torch.cat(two) for two in (images, images[::-1], labels, labels[::-1])))


class LabelPairs(Protocol):
    """A set of pairs with labels."""

    def draw(self, count: int, generator: torch.Generator) -> DrawnPair:
        """A random pair with ``count`` of its labels, or all if it has fewer, changed at random."""

    def held_out(self) -> Iterator[DrawnPair]:
        """The same pairs each time, with all their labels."""


class RenderedPairs:
    """Pairs of images made from label maps, each pair learned from both ways.

    :param maps: :func:`SLSFGRLib.synthesis.in_one_frame`, on the device to work on.
    :param shape: of the images.
    :param spacing: of their voxels, in mm.
    """

    def __init__(self, maps: list[LabelMap], shape: tuple[int, ...], settings: Synthesis, spacing: float) -> None:
        self.maps = maps
        self.shape = shape
        self.settings = settings
        self.spacing = spacing

    def draw(self, count: int, generator: torch.Generator) -> DrawnPair:
        """As :meth:`LabelPairs.draw`."""
        pair = synthesis.draw_pair(self.maps, self.shape, self.settings, generator, self.spacing)
        channels = _common_channels(pair)
        chosen = channels[torch.randperm(len(channels), generator=generator)[:count]]
        return _with_labels(pair, chosen).both_ways()

    def held_out(self) -> Iterator[DrawnPair]:
        """As :meth:`LabelPairs.held_out`; always of two anatomies."""
        settings = replace(self.settings, same_anatomy_chance=0.0)
        for number in range(VALIDATION_ROUNDS * len(self.maps)):
            two = [self.maps[(number + shift) % len(self.maps)] for shift in (0, 1)]
            generator = torch.Generator().manual_seed(VALIDATION_SEED + number)
            pair = synthesis.draw_pair(two, self.shape, settings, generator, self.spacing)
            yield _with_labels(pair, _common_channels(pair))


def _common_channels(pair: synthesis.Pair) -> torch.Tensor:
    """The structures that are in both images."""
    moving, fixed = (sample.anatomy.unique() for sample in (pair.moving, pair.fixed))
    return moving[torch.isin(moving, fixed) & (moving > 0)]


def _with_labels(pair: synthesis.Pair, channels: torch.Tensor) -> DrawnPair:
    labels = (
        torch.stack([(sample.anatomy == channel).float().mean(0) for channel in channels])[None]
        for sample in (pair.moving, pair.fixed)
    )
    return DrawnPair(pair.moving.image, pair.fixed.image, *labels)


@dataclass(frozen=True)
class LoadedCase:
    """A user's case on the fixed image's grid.

    :param moving: (1, 1, D, H, W) in [0, 1].
    :param fixed: likewise.
    :param labels: of the moving and the fixed image.
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    labels: list[tuple[Label, Label]]

    def drawn(self, numbers: list[int]) -> DrawnPair:
        """The images with some of the labels."""
        shape = self.fixed.shape[2:]
        sides = [torch.stack([self.labels[number][side].on_grid(shape) for number in numbers]) for side in (0, 1)]
        return DrawnPair(self.moving, self.fixed, *(side[None] for side in sides))


class LabelledCases:
    """A user's cases, each image changed at random together with its labels.

    :param spacing: of the voxels, in mm.
    """

    def __init__(self, cases: list[LoadedCase], augmentation: Augmentation, spacing: float) -> None:
        self.cases = cases
        self.augmentation = augmentation
        self.spacing = spacing

    def draw(self, count: int, generator: torch.Generator) -> DrawnPair:
        """As :meth:`LabelPairs.draw`."""
        case = self.cases[int(torch.randint(len(self.cases), (), generator=generator))]
        pair = case.drawn(torch.randperm(len(case.labels), generator=generator)[:count].tolist())
        moving, moving_labels = self._changed(pair.moving, pair.moving_labels, generator)
        fixed, fixed_labels = self._changed(pair.fixed, pair.fixed_labels, generator)
        return DrawnPair(moving, fixed, moving_labels, fixed_labels)

    def held_out(self) -> Iterator[DrawnPair]:
        """As :meth:`LabelPairs.held_out`."""
        return (case.drawn(list(range(len(case.labels)))) for case in self.cases)

    def _changed(
        self, image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """An image and its labels moved alike."""
        field = random_field(image.shape[2:], self.augmentation, self.spacing, generator)
        image = bent_intensities(warp(image, field), self.augmentation, generator)
        return image, warp(labels, field, padding="zeros")


def load_cases(
    files: list[CaseFiles], spacing: float, multiple: int, is_aligned: bool, update: Callable[[float], None]
) -> list[LoadedCase]:
    """Read cases, with the moving image and its labels aligned to the fixed image.

    :param spacing: of the voxels, in mm.
    :param multiple: the sizes of the images are multiples of it.
    :param is_aligned: whether the images of each case lie in space as they should.
    :param update: called with the fraction done.
    :raises InputError: a file cannot be read, or a case has no label in common.
    """
    loaded = []
    for number, case in enumerate(files):
        update(number / len(files))
        loaded.append(_loaded(case, spacing, multiple, is_aligned))
    return loaded


def _loaded(case: CaseFiles, spacing: float, multiple: int, is_aligned: bool) -> LoadedCase:
    fixed = prepare(read_image(case.fixed), str(case.fixed), spacing, MARGIN_MM, multiple)
    moving = prepare(read_image(case.moving), str(case.moving), spacing)
    matrix = torch.eye(4).double().numpy() if is_aligned else align(fixed, moving)
    to_moving = voxel_to_voxel(matrix, fixed.grid, moving.grid)
    with torch.no_grad():
        warped = AffineWarper(moving.tensor, to_moving, fixed.grid.shape, 1)(torch.zeros(1, 3, *fixed.grid.shape))
    labels = [pair for files in case.labels for pair in corresponding_labels(*files, matrix, fixed.grid)]
    if not labels:
        raise InputError(f"{case.name}: its images have no label in common; label one structure in both.")
    return LoadedCase(warped, fixed.tensor, labels)
