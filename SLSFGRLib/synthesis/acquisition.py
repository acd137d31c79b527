"""What a scanner makes of a head: texture, uneven coils, blur, thick slices, noise, and what is cut off."""

from __future__ import annotations

import torch

from ..spatial.fields import resize_image, smooth
from .rng import chance, fork, smooth_noise, uniform, whole_number
from .settings import Synthesis

# Grain of the texture in mm: fine, and coarser.
TEXTURE_MM = (5.0, 14.0)
BIAS_MM = (50.0, 200.0)
# Of thick slices, in mm.
THINNEST_SLICE_MM = 1.0
RICIAN_CHANCE = 0.5
CONTINUED_CHANCE = 0.5
# How far apart the errors of a removed skull's border are unrelated.
ERROR_MM = 20.0
# Robust scaling looks at every other voxel along each axis: sorting all of them takes longer than the rest.
STRIDE = 2


def acquired(
    image: torch.Tensor, spread: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """An ideal image as a scanner would give it.

    :param image: (1, 1, D, H, W), brightness.
    :param spread: the same shape, standard deviation of the texture.
    :param spacing: of the voxels, in mm.
    """
    noise_generator = fork(generator, image.device)
    image = image + spread * _texture(image.shape[2:], spacing, noise_generator, generator)
    image = image * _bias(image.shape[2:], spacing, synthesis.bias * uniform(generator), generator, image.device)
    image = smooth(image, synthesis.blur_mm * uniform(generator, 0.25, 1.0) / spacing)
    if chance(generator, synthesis.slice_chance):
        thickness = uniform(generator, THINNEST_SLICE_MM, synthesis.slice_mm)
        image = in_slices(image, whole_number(generator, 3), thickness / spacing, uniform(generator))
    return _noisy(image, synthesis.noise * uniform(generator) ** 2, generator, noise_generator)


def in_slices(image: torch.Tensor, axis: int, thickness: float, offset: float = 0.0) -> torch.Tensor:
    """Average along one array axis over slices, and interpolate between their middles.

    :param axis: 0, 1 or 2.
    :param thickness: of a slice, and distance to the next, in voxels; at one or less nothing changes.
    :param offset: where the first slice begins, as a part of the thickness.
    """
    if thickness <= 1.0:
        return image
    size = image.shape[axis + 2]
    edges = torch.arange(size, dtype=torch.float32)
    starts = thickness * (torch.arange(int(size / thickness) + 2) - offset)
    overlap = torch.minimum(edges + 1.0, starts[:, None] + thickness) - torch.maximum(edges, starts[:, None])
    average = overlap.clamp(min=0.0)
    kept = average.sum(1) > 0.5
    average, middles = average[kept] / average[kept].sum(1, keepdim=True), starts[kept] + thickness / 2.0
    between = (1.0 - (edges[:, None] + 0.5 - middles).abs() / thickness).clamp(min=0.0)
    blend = (between / between.sum(1, keepdim=True)) @ average
    return torch.movedim(torch.tensordot(blend.to(image.device), image, dims=([1], [axis + 2])), 0, axis + 2)


def cut(
    image: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave out one end of the field of view, in some images.

    :param image: (1, 1, D, H, W).
    :returns: the image, with nothing or its continued edge where it was cut, as preparation leaves it; and
        1 for what is seen, 0 for what is not, of the same shape.
    """
    seen = torch.ones_like(image)
    if not chance(generator, synthesis.cut_chance):
        return image, seen
    axis = 2 + whole_number(generator, 3)
    size = image.shape[axis]
    depth = min(round(uniform(generator, 0.0, synthesis.cut_mm) / spacing), size // 2)
    far, continued = chance(generator, 0.5), chance(generator, CONTINUED_CHANCE)
    seen.narrow(axis, size - depth if far else 0, depth).zero_()
    edge = image.narrow(axis, size - depth - 1 if far else depth, 1)
    return torch.where(seen > 0, image, edge if continued else torch.zeros_like(edge)), seen


def brain_mask(brain: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator) -> torch.Tensor:
    """What a tool that removes the skull may leave: the part of each voxel, the shape of ``brain``.

    :param brain: (1, 1, D, H, W), the part of each voxel that is to be left.
    """
    sigma = max(synthesis.strip_mm, 0.5)
    wave = smooth_noise(generator, brain.shape[2:], 1, ERROR_MM / spacing, brain.device).clamp(-2.0, 2.0)
    error = synthesis.strip_mm * (0.25 * wave + 0.5 * uniform(generator, -1.0, 1.0))
    # Across a blurred border the slope is known: it says how many mm deep inside a voxel lies.
    depth = (smooth(brain, sigma / spacing) - 0.5) * sigma * (2.0 * torch.pi) ** 0.5
    return ((depth - error) / spacing + 0.5).clamp(0.0, 1.0)


def scaled(image: torch.Tensor) -> torch.Tensor:
    """Scale robustly to [0, 1], as :func:`SLSFGRLib.preprocessing.prepare` does."""
    values = image[..., ::STRIDE, ::STRIDE, ::STRIDE].flatten()
    low, bright = _percentile(values, 0.5), _percentile(values, 99.9)
    above = values[values > low + 0.05 * (bright - low)]
    high = _percentile(above, 99.5) if len(above) else values.max()
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0.0, 1.0)


def _percentile(values: torch.Tensor, percent: float) -> torch.Tensor:
    return values.kthvalue(1 + round(percent / 100.0 * (len(values) - 1))).values


def _texture(
    shape: torch.Size, spacing: float, noise_generator: torch.Generator, generator: torch.Generator
) -> torch.Tensor:
    """Random variation with a fine and a coarse grain, (1, 1, D, H, W), about standard normal."""
    device = noise_generator.device
    fine = [max(2, round(size * spacing / TEXTURE_MM[0])) for size in shape]
    grain = resize_image(torch.randn(1, 1, *fine, generator=noise_generator, device=device), shape)
    return grain + smooth_noise(generator, shape, 1, TEXTURE_MM[1] / spacing, device)


def _bias(
    shape: torch.Size, spacing: float, strength: float, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """A smooth factor between ``1 - strength`` and ``1 + strength``."""
    field = smooth_noise(generator, shape, 1, uniform(generator, *BIAS_MM) / spacing, device)
    field = field - field.mean()
    return 1.0 + strength * field / field.abs().max().clamp(min=1e-6)


def _noisy(
    image: torch.Tensor, deviation: float, generator: torch.Generator, noise_generator: torch.Generator
) -> torch.Tensor:
    """Add noise as a magnitude image has it (Rician), or Gaussian as after filtering."""

    def noise() -> torch.Tensor:
        return deviation * torch.randn(image.shape, generator=noise_generator, device=image.device)

    if chance(generator, RICIAN_CHANCE):
        return torch.hypot(image + noise(), noise())
    return image + noise()
