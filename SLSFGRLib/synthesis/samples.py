"""Training samples: a synthetic image with its labels, or a pair of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..spatial.fields import smooth
from .acquisition import (
    crop_field_of_view,
    erase_outside,
    fading,
    normalise,
    random_brain_mask,
    random_fall_off,
    random_gamma,
    random_wrap,
    simulate_acquisition,
)
from .contrasts import Contrast, draw_contrast, typical_contrast
from .deformations import random_points
from .label_maps import LabelMap
from .objects import random_object
from .parts import add_lesion, divide_outside
from .poses import Pose, below_the_brain, random_pose, residual_pose
from .rng import chance, uniform, whole_number
from .settings import Synthesis
from .tissue_contrasts import INTENSITY_PROFILES, channel_count, classes
from .ultrasound import simulate_ultrasound

EXTRACEREBRAL_CSF = "cerebrospinal fluid"
# Chosen, not measured. Skull-stripped images without any CSF around the brain, and how far from the brain the others
# have it.
WITHOUT_CSF_CHANCE = 0.4
CSF_REACH_MM = 4.0


@dataclass(frozen=True)
class Sample:
    """A synthetic image with its labels.

    :param image: (1, 1, D, H, W), normalised to [0, 1] as a prepared image.
    :param labels: (8, D, H, W) uint8: the channel of the label table in each eighth of a voxel. Where the field of
        view was cropped or the skull stripped there is background.
    :param anatomy: the same of the whole head, visible or not.
    :param contrast: of the image.
    :param number: of the label map.
    """

    image: torch.Tensor
    labels: torch.Tensor
    anatomy: torch.Tensor
    contrast: Contrast
    number: int


@dataclass(frozen=True)
class Pair:
    """Two synthetic images to register.

    :param moving_reference: (1, 1, D, H, W), the whole moving brain without artefacts, in the same contrast as
        ``fixed_reference``: the two can be compared whatever the contrasts of the images.
    """

    moving: Sample
    fixed: Sample
    moving_reference: torch.Tensor
    fixed_reference: torch.Tensor


@dataclass(frozen=True)
class Synthesiser:
    """A generator of images from label maps.

    All random numbers come from a generator on the CPU, which each call is given. Several label maps must be aligned by
    :func:`label_maps.align_label_maps`, and be on the device of the images.

    :param shape: of the images' grid; the centre of the brain is near its centre.
    :param spacing: of the grid, in mm.
    """

    settings: Synthesis
    shape: Sequence[int]
    spacing: float = 2.0

    def sample(self, maps: Sequence[LabelMap], generator: torch.Generator) -> Sample:
        """Draw an image of one of the label maps."""
        number = whole_number(generator, len(maps))
        if self.settings.object_chance and chance(generator, self.settings.object_chance):
            return self._draw_object(number, generator, maps[number].classes.device)
        pose = random_pose(self.settings, generator)
        if self.settings.absent_chance and chance(generator, self.settings.absent_chance):
            pose = below_the_brain(pose, generator)
        return self._draw(maps, number, pose, draw_contrast(self.settings, generator), generator)

    def pair(self, maps: Sequence[LabelMap], generator: torch.Generator) -> Pair:
        """Draw two roughly aligned images, of two label maps or of one that is deformed twice."""
        settings = self.settings
        first = whole_number(generator, len(maps))
        second = (first + 1 + whole_number(generator, max(1, len(maps) - 1))) % len(maps)
        if chance(generator, settings.same_anatomy_chance):
            second = first
        contrast = draw_contrast(settings, generator)
        other = contrast
        if not chance(generator, settings.same_contrast_chance):
            other = draw_contrast(settings, generator, contrast.name if settings.unlike_contrasts else None)
        pose = random_pose(settings, generator)
        moving = self._draw(maps, first, residual_pose(settings, generator).after(pose), contrast, generator)
        fixed = self._draw(maps, second, residual_pose(settings, generator).after(pose), other, generator)
        return Pair(moving, fixed, reference(moving.anatomy), reference(fixed.anatomy))

    def group(self, maps: Sequence[LabelMap], count: int, generator: torch.Generator) -> list[Sample]:
        """Draw several roughly aligned images, of any label maps and contrasts."""
        pose, samples = random_pose(self.settings, generator), []
        for _ in range(count):
            number = whole_number(generator, len(maps))
            residual = residual_pose(self.settings, generator).after(pose)
            samples.append(self._draw(maps, number, residual, draw_contrast(self.settings, generator), generator))
        return samples

    def _draw(
        self, maps: Sequence[LabelMap], number: int, pose: Pose, contrast: Contrast, generator: torch.Generator
    ) -> Sample:
        settings, spacing = self.settings, self.spacing
        flipped = chance(generator, settings.flip_chance)
        points = random_points(self.shape, spacing, settings, pose, generator, maps[number].classes.device)
        kinds = maps[number].sample(points, flipped)
        anatomy = _look_up(kinds, torch.from_numpy(classes().mirrored_channel if flipped else classes().channel))
        shown, parts = kinds, contrast
        if settings.outside_chance and chance(generator, settings.outside_chance):
            shown, parts = divide_outside(kinds, contrast, spacing, generator)
        ideal, texture = _render(shown, parts.intensity), _render(shown, parts.texture)
        if contrast.name == "ultrasound":
            ideal = simulate_ultrasound(ideal, spacing, generator)
        ideal = self._with_artefacts(ideal, anatomy, generator)
        image = simulate_acquisition(ideal, texture, spacing, settings, generator)
        mask, fade, deep = torch.ones_like(image), torch.ones_like(image), None
        if chance(generator, settings.strip_chance):
            mask = _random_skull_stripping(kinds, spacing, settings, generator)
        elif settings.fade_chance and chance(generator, settings.fade_chance):
            brain = random_brain_mask(_render(kinds, _is_inside().float()), spacing, settings, generator)
            fade, deep = fading(brain > 0.5, spacing)
        image, visible = crop_field_of_view(image * mask, spacing, settings, generator)
        image = random_gamma(fade * normalise(image, deep), settings.gamma, generator)
        return Sample(image, anatomy * (mask * fade * visible > 0.5)[0], anatomy, contrast, number)

    def _draw_object(self, number: int, generator: torch.Generator, device: torch.device) -> Sample:
        """Draw an image without a head; its labels are background."""
        settings, spacing = self.settings, self.spacing
        ideal, texture = random_object(self.shape, spacing, generator, device)
        image = simulate_acquisition(ideal, texture, spacing, settings, generator)
        image, _ = crop_field_of_view(image, spacing, settings, generator)
        nothing = torch.zeros(8, *self.shape, dtype=torch.uint8, device=device)
        image = random_gamma(normalise(image), settings.gamma, generator)
        return Sample(image, nothing, nothing, Contrast("object", torch.zeros(0), torch.zeros(0)), number)

    def _with_artefacts(self, image: torch.Tensor, anatomy: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Change an ideal image by a lesion, erased parts, fall-off and wrap-around, each by its chance."""
        settings, spacing = self.settings, self.spacing
        if settings.lesion_chance and chance(generator, settings.lesion_chance):
            image = add_lesion(image, _fraction(anatomy), spacing, generator)
        if settings.erased_chance and chance(generator, settings.erased_chance):
            image = erase_outside(image, _fraction(anatomy), spacing, generator)
        if settings.fall_off_chance and chance(generator, settings.fall_off_chance):
            image = random_fall_off(image, spacing, generator)
        if settings.wrap_chance and chance(generator, settings.wrap_chance):
            image = random_wrap(image, generator)
        return image


def reference(anatomy: torch.Tensor) -> torch.Tensor:
    """Render a brain in the typical T1 contrast without noise and bias field, (1, 1, D, H, W).

    :param anatomy: (8, D, H, W) uint8, channels.
    """
    return _render(anatomy, typical_contrast("t1").intensity[: channel_count()])


def _fraction(anatomy: torch.Tensor) -> torch.Tensor:
    """Return the fraction of each voxel that is not background, (1, 1, D, H, W)."""
    return (anatomy > 0).float().mean(0)[None, None]


def partial_volume_labels(labels: torch.Tensor) -> torch.Tensor:
    """Return the fraction of each voxel that each channel fills.

    :param labels: (8, D, H, W) uint8, channels.
    :returns: (1, channels, D, H, W).
    """
    out = torch.zeros((channel_count(), *labels.shape[1:]), device=labels.device)
    part = torch.full((1, *labels.shape[1:]), 1.0 / len(labels), device=labels.device)
    for octant in labels:
        out.scatter_add_(0, octant[None].long(), part)
    return out[None]


def _random_skull_stripping(
    kinds: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """Return a mask of the brain, with or without some CSF around it, as a fraction of each voxel, (1, 1, D, H, W)."""
    inside = _is_inside()
    around = torch.tensor([name == EXTRACEREBRAL_CSF for name in classes().names])
    tissue = _render(kinds, (inside & ~around).float())
    if chance(generator, WITHOUT_CSF_CHANCE):
        return random_brain_mask(tissue, spacing, synthesis, generator)
    near = smooth(tissue, CSF_REACH_MM / spacing) > uniform(generator, 0.02, 0.4)
    return random_brain_mask(_render(kinds, inside.float()) * near, spacing, synthesis, generator)


def _is_inside() -> torch.Tensor:
    """Return whether each class is brain or CSF, (classes,)."""
    return torch.tensor([INTENSITY_PROFILES[name].group not in ("outside", "background") for name in classes().names])


def _look_up(kinds: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the value that a table has for each class, in the shape of ``kinds``."""
    return table.to(kinds.device).index_select(0, kinds.flatten().int()).view(kinds.shape)


def _render(kinds: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the mean of a table's values over the eighths of each voxel, (1, 1, D, H, W)."""
    total = torch.zeros(kinds.shape[1:], device=kinds.device)
    for octant in kinds:
        total += _look_up(octant, table)
    return (total / len(kinds))[None, None]
