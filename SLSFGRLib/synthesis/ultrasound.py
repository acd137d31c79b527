"""Ultrasound images from maps of echogenicity: bright interfaces, speckle, attenuation and shadows.

This is no simulation of waves. It imitates how ultrasound of the exposed brain during an operation differs from MRI.
"""

from __future__ import annotations

import torch

from ..spatial.fields import central_differences, smooth, voxel_grid
from .rng import fork, signed, uniform, whole_number

# All ranges are chosen, not measured. Size of the speckle's grains, in mm.
GRAIN_MM = (1.5, 3.5)
# Fraction of the intensity that is speckle.
SPECKLE = (0.3, 0.8)
# Intensity of interfaces across the beam, relative to the difference of echogenicity.
ECHO = (0.5, 2.0)
# Attenuation for each 100 mm of depth: the intensity falls to exp(-attenuation).
ATTENUATION = (0.0, 0.6)
MOST_SHADOWS = 3
# Half the width of a shadow, in radians from the probe; the darkest leaves this fraction of the intensity.
SHADOW_WIDTH = (0.04, 0.15)
DARKEST = 0.1
# Distance of the probe from the centre in mm: outside the head, or near its surface.
PROBE_MM = (85.0, 120.0)


def simulate_ultrasound(image: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Turn a map of echogenicity into an ultrasound image.

    :param image: (1, 1, D, H, W), 0 or more.
    :param spacing: of the voxels, in mm.
    :param generator: on the CPU; decides everything.
    :returns: the same shape, 0 or more.
    """
    offset, distance = _from_probe(image.shape[2:], spacing, generator, image.device)
    image = image + uniform(generator, *ECHO) * _border_echo(image, offset / distance)
    image = image * _speckle(image, spacing, generator)
    image = image * (-uniform(generator, *ATTENUATION) * distance / 100.0).exp()
    for _ in range(whole_number(generator, MOST_SHADOWS + 1)):
        image = image * _shadow(offset, distance, generator)
    return image


def _from_probe(
    shape: torch.Size, spacing: float, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the vector from the probe to each voxel in mm, (1, 3, D, H, W), and its length, (1, 1, D, H, W)."""
    direction = signed(generator)
    direction = direction / direction.norm().clamp(min=1e-3)
    centre = torch.tensor([(size - 1) / 2.0 for size in shape])
    probe = centre + direction * uniform(generator, *PROBE_MM) / spacing
    offset = (voxel_grid(shape, device) - probe.to(device).view(1, 3, 1, 1, 1)) * spacing
    return offset, offset.norm(dim=1, keepdim=True).clamp(min=spacing)


def _border_echo(image: torch.Tensor, beam: torch.Tensor) -> torch.Tensor:
    """Return how much the echogenicity changes along the beam, per voxel."""
    return (central_differences(image)[:, 0] * beam).sum(1, keepdim=True).abs()


def _speckle(image: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Draw a factor with mean one, distributed as the length of a random phasor (Rayleigh), in grains."""
    noise_generator = fork(generator, image.device)
    sigma = uniform(generator, *GRAIN_MM) / spacing / 2.355
    phasor = torch.randn((1, 2, *image.shape[2:]), generator=noise_generator, device=image.device)
    length = smooth(phasor, sigma).norm(dim=1, keepdim=True)
    share = uniform(generator, *SPECKLE)
    return 1.0 - share + share * length / length.mean()


def _shadow(offset: torch.Tensor, distance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw a factor below one in a cone that begins at some depth, as behind bone or gas."""
    axis = signed(generator)
    towards_centre = offset[0, :, offset.shape[2] // 2, offset.shape[3] // 2, offset.shape[4] // 2]
    axis = towards_centre / towards_centre.norm() + 0.5 * axis.to(offset.device)
    axis = (axis / axis.norm()).view(1, 3, 1, 1, 1)
    cosine = ((offset * axis).sum(1, keepdim=True) / distance).clamp(-1.0, 1.0)
    width, begin = uniform(generator, *SHADOW_WIDTH), uniform(generator, 20.0, 110.0)
    within = torch.sigmoid((width - torch.acos(cosine.clamp(max=1.0 - 1e-6))) / (0.2 * width))
    behind = torch.sigmoid((distance - begin) / 3.0)
    return 1.0 - (1.0 - uniform(generator, DARKEST, 0.6)) * within * behind
