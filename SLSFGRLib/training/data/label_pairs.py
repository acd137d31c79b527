"""Pairs of images with corresponding labels: synthetic ones, or the user's own cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from ...errors import InputError
from ...io.images import read_image
from ...preprocessing import prepare
from ...registration.affine_optimisation import optimise_affine
from ...spatial.affine import Affine
from ...spatial.fields import warp
from ...synthesis import LabelMap, Synthesiser, partial_volume_labels
from ...synthesis.acquisition import random_gamma
from ...synthesis.rng import chance
from ..sections import Augmentation
from .case_files import CaseFiles
from .image_pairs import MARGIN_MM, random_field, resample
from .label_files import Label, corresponding_labels
from .synthetic_pairs import SyntheticImages
from .validation_pairs import validation_pairs


@dataclass(frozen=True)
class LabelledPair:
    """Two images to register, and labels to compare.

    :param moving: (B, 1, D, H, W) in [0, 1].
    :param fixed: likewise.
    :param moving_labels: (B, L, ...), the fraction of each voxel that each label fills, on the images' grid or a
        coarser one.
    :param fixed_labels: likewise.
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    moving_labels: torch.Tensor
    fixed_labels: torch.Tensor

    def to(self, device: torch.device) -> LabelledPair:
        """Return a copy on another device."""
        return LabelledPair(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class TrainingPairs(Protocol):
    """Pairs with labels to train on."""

    def draw(self, count: int, generator: torch.Generator) -> LabelledPair:
        """Draw an augmented pair with ``count`` of its labels, or with all if it has fewer."""


# The same pairs at each call, with all their labels, to validate on.
ValidationPairs = Callable[[], Iterator[LabelledPair]]


class SyntheticTrainingPairs:
    """Pairs of synthetic images.

    :param augmentation: its gamma changes their intensities each time they are used.
    """

    def __init__(self, images: SyntheticImages, augmentation: Augmentation) -> None:
        self.images = images
        self.augmentation = augmentation

    def draw(self, count: int, generator: torch.Generator) -> LabelledPair:
        """Draw as :meth:`TrainingPairs.draw`; labels have half the images' resolution."""
        flipped = chance(generator, 0.5)
        images, labels = zip(*(image.restore(flipped) for image in self.images.draw(generator)), strict=True)
        channels = _common_channels(*labels)
        chosen = channels[torch.randperm(len(channels), generator=generator)[:count].to(channels.device)]
        moving, fixed = (random_gamma(image, self.augmentation.gamma, generator) for image in images)
        return LabelledPair(moving, fixed, *(side[:, chosen] for side in labels))


def synthetic_validation_pairs(maps: list[LabelMap], synthesiser: Synthesiser) -> Iterator[LabelledPair]:
    """Return pairs of synthetic images of two anatomies, the same each time, with all labels that both have.

    :param maps: :func:`SLSFGRLib.synthesis.align_label_maps`, on the device to work on.
    """
    settings = replace(synthesiser.settings, same_anatomy_chance=0.0)
    for pair in validation_pairs(maps, replace(synthesiser, settings=settings)):
        labels = [partial_volume_labels(sample.anatomy) for sample in (pair.moving, pair.fixed)]
        channels = _common_channels(*labels)
        yield LabelledPair(pair.moving.image, pair.fixed.image, *(side[:, channels] for side in labels))


def _common_channels(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """Return the structures that are in both of two (1, channels, D, H, W) labels."""
    present = [labels.amax((0, 2, 3, 4)) > 0 for labels in (moving, fixed)]
    structures = (present[0] & present[1]).nonzero().flatten()
    return structures[structures > 0]


@dataclass(frozen=True)
class Case:
    """A user's case on the fixed image's grid.

    :param moving: (1, 1, D, H, W) in [0, 1].
    :param fixed: likewise.
    :param labels: pairs of the moving and the fixed image's.
    """

    moving: torch.Tensor
    fixed: torch.Tensor
    labels: list[tuple[Label, Label]]

    def with_labels(self, numbers: list[int]) -> LabelledPair:
        """Return the images with some of the labels."""
        shape = self.fixed.shape[2:]
        sides = [torch.stack([self.labels[number][side].on_grid(shape) for number in numbers]) for side in (0, 1)]
        return LabelledPair(self.moving, self.fixed, *(side[None] for side in sides))


class LabelledCases:
    """A user's cases; each image is augmented together with its labels.

    :param spacing: of the voxels, in mm.
    """

    def __init__(self, cases: list[Case], augmentation: Augmentation, spacing: float) -> None:
        self.cases = cases
        self.augmentation = augmentation
        self.spacing = spacing

    def draw(self, count: int, generator: torch.Generator) -> LabelledPair:
        """Draw as :meth:`TrainingPairs.draw`."""
        case = self.cases[int(torch.randint(len(self.cases), (), generator=generator))]
        pair = case.with_labels(torch.randperm(len(case.labels), generator=generator)[:count].tolist())
        moving, moving_labels = self._augment(pair.moving, pair.moving_labels, generator)
        fixed, fixed_labels = self._augment(pair.fixed, pair.fixed_labels, generator)
        return LabelledPair(moving, fixed, moving_labels, fixed_labels)

    def validation_pairs(self) -> Iterator[LabelledPair]:
        """Return the cases as they are, with all labels."""
        return (case.with_labels(list(range(len(case.labels)))) for case in self.cases)

    def _augment(
        self, image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment an image, and move its labels alike."""
        field = random_field(image.shape[2:], self.augmentation, self.spacing, generator)
        image = random_gamma(warp(image, field), self.augmentation.gamma, generator)
        return image, warp(labels, field, padding="zeros")


def load_cases(
    files: list[CaseFiles], spacing: float, multiple: int, is_aligned: bool, update: Callable[[float], None]
) -> list[Case]:
    """Read cases, and align each moving image and its labels to the fixed image.

    :param spacing: of the voxels, in mm.
    :param multiple: the sizes of the images are multiples of it.
    :param is_aligned: whether the images of each case are aligned already.
    :param update: called with the fraction done.
    :raises InputError: a file cannot be read, or a case has no common label.
    """
    loaded = []
    for number, case in enumerate(files):
        update(number / len(files))
        loaded.append(_load(case, spacing, multiple, is_aligned))
    return loaded


def _load(case: CaseFiles, spacing: float, multiple: int, is_aligned: bool) -> Case:
    fixed = prepare(read_image(case.fixed), str(case.fixed), spacing, MARGIN_MM, multiple)
    moving = prepare(read_image(case.moving), str(case.moving), spacing)
    affine = Affine.identity() if is_aligned else optimise_affine(fixed, moving)
    labels = [pair for files in case.labels for pair in corresponding_labels(*files, affine, fixed.grid)]
    if not labels:
        raise InputError(f"{case.name}: its images have no label in common; label one structure in both.")
    return Case(resample(moving, affine, fixed.grid), fixed.tensor, labels)
