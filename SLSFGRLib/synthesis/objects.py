"""Objects that are no heads: phantoms, fruit, other parts of the body, noise. They teach that there may be no brain."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..spatial.fields import smooth
from .deformations import centred_points
from .poses import random_rotation
from .rng import chance, signed, smooth_noise, uniform, whole_number

# Chosen, not measured. An object has up to so many bodies, each this large, this far from the centre and this wavy;
# half of them are shells, this thick, whose inside has another intensity.
BODIES, RADIUS_MM, OFFSET_MM, WAVE = 5, (15.0, 95.0), 70.0, 0.25
SHELL_CHANCE, SHELL_MM = 0.5, (3.0, 15.0)
# Variation of the intensity within a body, relative to it, and its size.
TEXTURE, GRAIN_MM = 0.3, (6.0, 40.0)
# A few images hold nothing but noise.
EMPTY_CHANCE = 0.1


def random_object(
    shape: Sequence[int], spacing: float, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ellipsoids with wavy surfaces, full or hollow, that overlap.

    :returns: the intensities and the standard deviation of the texture, (1, 1, D, H, W) each.
    """
    image = torch.zeros(1, 1, *shape, device=device)
    if not chance(generator, EMPTY_CHANCE):
        points = centred_points(shape, spacing, device)
        for _ in range(1 + whole_number(generator, BODIES)):
            image = _with_body(image, points, spacing, generator)
    return image, 0.05 * uniform(generator) * (image > 0)


def _with_body(image: torch.Tensor, points: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Replace a part of an image by an ellipsoid."""
    shape, device = image.shape[2:], image.device
    centre = (OFFSET_MM * signed(generator)).to(device).view(1, 3, 1, 1, 1)
    radii = torch.tensor([uniform(generator, *RADIUS_MM) for _ in range(3)], device=device).view(1, 3, 1, 1, 1)
    turned = random_rotation(generator)(points - centre)
    wave = smooth_noise(generator, shape, 1, 30.0 / spacing, device)
    # About the distance from the surface in mm, negative inside.
    distance = ((turned / radii).norm(dim=1, keepdim=True) - 1.0 + WAVE * uniform(generator) * wave) * radii.min()
    grain = smooth_noise(generator, shape, 1, uniform(generator, *GRAIN_MM) / spacing, device)
    texture = 1.0 + TEXTURE * uniform(generator) * grain
    content = uniform(generator, 0.05, 1.2) * texture
    if chance(generator, SHELL_CHANCE):
        inner = uniform(generator, 0.0, 1.2) * texture
        content = torch.where(distance < -uniform(generator, *SHELL_MM), inner, content)
    inside = smooth((distance < 0.0).float(), 0.5)
    return torch.lerp(image, content.clamp(min=0.0), inside)
