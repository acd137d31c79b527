"""Pairs of images with corresponding labels: made from label maps, or the user's own cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from ... import synthesis
from ...errors import InputError
from ...io.images import read_image
from ...preprocessing import prepare
from ...registration.affine import align
from ...spatial.fields import warp
from ...spatial.grid import voxel_to_voxel
from ...spatial.warping import AffineWarper
from ...synthesis import LabelMap, Synthesis
from ...synthesis.rng import chance
from ..recipe import Augmentation
from .case_files import CaseFiles
from .image_pairs import bent_intensities, random_field
from .label_files import Label, corresponding_labels
from .synthetic_pairs import RenderedImages

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
    :param moving_labels: (B, L, ...), the part of each voxel that each label fills; on the images' grid, or a coarser.
    :param fixed_labels: likewise.
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    moving_labels: torch.Tensor
    fixed_labels: torch.Tensor

    def to(self, device: torch.device) -> DrawnPair:
        """The same on another device."""
        return DrawnPair(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class LabelPairs(Protocol):
    """Pairs with labels to learn from."""

    def draw(self, count: int, generator: torch.Generator) -> DrawnPair:
        """A random pair with ``count`` of its labels, or all if it has fewer, changed at random."""


class HeldOut(Protocol):
    """Pairs with labels to measure by."""

    def held_out(self) -> Iterator[DrawnPair]:
        """The same pairs each time, with all their labels."""


class RenderedPairs:
    """Pairs of images made from label maps.

    :param images: to learn from.
    :param augmentation: changes their intensities each time they are used.
    """

    def __init__(self, images: RenderedImages, augmentation: Augmentation) -> None:
        self.images = images
        self.augmentation = augmentation

    def draw(self, count: int, generator: torch.Generator) -> DrawnPair:
        """As :meth:`LabelPairs.draw`; labels have half the images' resolution."""
        flipped = chance(generator, 0.5)
        images, shares = zip(*(kept.restored(flipped) for kept in self.images.draw(generator)), strict=True)
        channels = _common_channels(*shares)
        chosen = channels[torch.randperm(len(channels), generator=generator)[:count].to(channels.device)]
        moving, fixed = (bent_intensities(image, self.augmentation, generator) for image in images)
        return DrawnPair(moving, fixed, *(share[:, chosen] for share in shares))


class HeldOutPairs:
    """Pairs of two anatomies that are never learned from, always the same.

    :param maps: :func:`SLSFGRLib.synthesis.in_one_frame`, on the device to work on.
    :param shape: of the images.
    :param spacing: of their voxels, in mm.
    """

    def __init__(self, maps: list[LabelMap], shape: tuple[int, ...], settings: Synthesis, spacing: float) -> None:
        self.maps = maps
        self.shape = shape
        self.settings = replace(settings, same_anatomy_chance=0.0)
        self.spacing = spacing

    def held_out(self) -> Iterator[DrawnPair]:
        """As :meth:`HeldOut.held_out`."""
        for number in range(VALIDATION_ROUNDS * len(self.maps)):
            two = [self.maps[(number + shift) % len(self.maps)] for shift in (0, 1)]
            generator = torch.Generator().manual_seed(VALIDATION_SEED + number)
            pair = synthesis.draw_pair(two, self.shape, self.settings, generator, self.spacing)
            shares = [synthesis.fractions(sample.anatomy) for sample in (pair.moving, pair.fixed)]
            channels = _common_channels(*shares)
            yield DrawnPair(pair.moving.image, pair.fixed.image, *(share[:, channels] for share in shares))


def _common_channels(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """The structures that are in both images, of (1, CHANNELS, D, H, W) shares."""
    present = [shares.amax((0, 2, 3, 4)) > 0 for shares in (moving, fixed)]
    structures = (present[0] & present[1]).nonzero().flatten()
    return structures[structures > 0]


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
        """As :meth:`HeldOut.held_out`."""
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
