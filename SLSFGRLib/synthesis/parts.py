"""Parts of a head with intensities of their own: divided tissues outside the brain, and lesions in it.

Label maps have few classes outside the brain, where a scan has fat, muscles, glands, teeth and air of any intensity. A
network that has seen each class with one intensity takes some of these for brain.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..spatial.fields import smooth
from .contrasts import Contrast
from .deformations import centred_points
from .rng import chance, signed, smooth_noise, uniform, whole_number
from .tissue_contrasts import INTENSITY_PROFILES, classes

# Chosen, not measured. Parts of each class, and how far apart the points are between which the parts vary, in mm.
PARTS, PART_MM = 4, (12.0, 60.0)
# Of the parts that are redrawn: these take the intensity of air, and these that of another class.
AIR_CHANCE, SAME_AS_CHANCE = 0.2, 0.4
# Fat may be much brighter than the brain.
BRIGHTEST = 1.8
LESION_RADIUS_MM, LESION_OFFSET_MM = (4.0, 35.0), 55.0


def divide_outside(
    kinds: torch.Tensor, contrast: Contrast, spacing: float, generator: torch.Generator
) -> tuple[torch.Tensor, Contrast]:
    """Divide the classes outside the brain into parts, some of which get another intensity.

    :param kinds: (8, D, H, W) uint8, indices into :func:`tissue_contrasts.classes`.
    :returns: indices into the rows of the returned contrast, and this contrast.
    """
    count = len(classes().names)
    noise = smooth_noise(generator, kinds.shape[1:], 1, uniform(generator, *PART_MM) / spacing, kinds.device)[0, 0]
    noise = noise / noise.std().clamp(min=1e-6)
    # The quartiles of a normal distribution.
    part = torch.bucketize(noise, torch.tensor([-0.67, 0.0, 0.67], device=kinds.device)).to(torch.uint8)
    freedom = uniform(generator)
    intensity, texture = contrast.intensity.repeat(PARTS, 1), contrast.texture.repeat(PARTS, 1)
    outside = [row for row, name in enumerate(classes().names) if INTENSITY_PROFILES[name].group == "outside"]
    for row in outside:
        for number in range(PARTS):
            if chance(generator, freedom):
                intensity[number, row] = _any_intensity(contrast, generator)
    parts = replace(contrast, intensity=intensity.flatten(), texture=texture.flatten())
    return kinds + count * part, parts


def _any_intensity(contrast: Contrast, generator: torch.Generator) -> float:
    """Draw the intensity of air, that of another class, or any."""
    if chance(generator, AIR_CHANCE):
        return float(contrast.intensity[0])
    if chance(generator, SAME_AS_CHANCE):
        return float(contrast.intensity[whole_number(generator, len(contrast.intensity))])
    return uniform(generator, 0.0, BRIGHTEST)


def add_lesion(image: torch.Tensor, brain: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Blend the intensity of an irregular ball in the brain towards a random one.

    :param image: (1, 1, D, H, W).
    :param brain: the fraction of each voxel that is brain, of the same shape.
    """
    centre = (LESION_OFFSET_MM * signed(generator)).to(image.device).view(1, 3, 1, 1, 1)
    distance = (centred_points(image.shape[2:], spacing, image.device) - centre).norm(dim=1, keepdim=True)
    radius = uniform(generator, *LESION_RADIUS_MM)
    wave = smooth_noise(generator, image.shape[2:], 1, radius / spacing, image.device)
    ball = smooth((distance < radius * (1.0 + 0.3 * wave)).float(), 1.0) * brain
    return torch.lerp(image, torch.full_like(image, uniform(generator, 0.0, 1.2)), ball * uniform(generator, 0.3, 1.0))
