"""The acquisition of an image: texture, bias field, blur, slice thickness, noise, field of view, skull-stripping."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
import torch

from ..spatial.fields import resize_image, smooth
from .deformations import centred_points
from .rng import chance, fork, signed, smooth_noise, uniform, whole_number
from .settings import Synthesis

# Numbers here are chosen, not measured, where nothing else is said.
# Grain size of the texture in mm: fine and coarse.
TEXTURE_MM = (5.0, 14.0)
# Distance in mm over which a bias field varies: coils are larger than a brain's parts and smaller than a head.
BIAS_MM = (50.0, 200.0)
THINNEST_SLICE_MM = 1.0
RICIAN_CHANCE = 0.5
# How often the border of a cropped field of view is continued, as preparation continues it, and not left dark.
CONTINUED_CHANCE = 0.5
# Where the fall-off of the signal begins, as a distance from the centre, and over which distance it falls to 1 / e.
FALL_OFF_BEGIN_MM, FALL_OFF_MM = (-20.0, 80.0), (20.0, 100.0)
# The distance from the centre from which on a part is erased, and how far from the brain at least.
ERASED_BEYOND_MM, KEPT_NEAR_MM = (-40.0, 80.0), (2.0, 12.0)
# Correlation length of skull-stripping errors in mm.
ERROR_MM = 20.0
# As in preparation (:mod:`SLSFGRLib.preprocessing`, which imports nothing from here): the distance from the brain up to
# which an image is kept, over which it fades out, and the depth from which on voxels decide the scale.
KEPT_MM, FADE_MM, DEEP_MM = 3.0, 4.0, 8.0
# Intensity normalisation uses every other voxel along each axis: sorting all of them takes longer than the rest.
STRIDE = 2


def simulate_acquisition(
    image: torch.Tensor, texture: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """Degrade an ideal image as a scanner does.

    :param image: (1, 1, D, H, W) intensities.
    :param texture: standard deviation of the texture in each voxel, the same shape.
    :param spacing: of the voxels, in mm.
    """
    noise_generator = fork(generator, image.device)
    image = image + texture * _grain(image.shape[2:], spacing, noise_generator, generator)
    image = image * random_bias_field(image.shape[2:], spacing, synthesis.bias, generator, image.device)
    image = smooth(image, synthesis.blur_mm * uniform(generator, 0.25, 1.0) / spacing)
    if chance(generator, synthesis.slice_chance):
        image = random_anisotropy(image, spacing, synthesis.slice_mm, generator)
    return random_noise(image, synthesis.noise, generator, noise_generator)


def random_bias_field(
    shape: torch.Size, spacing: float, limit: float, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Draw a smooth factor, (1, 1, D, H, W), between ``1 - limit`` and ``1 + limit``."""
    strength = limit * uniform(generator)
    field = smooth_noise(generator, shape, 1, uniform(generator, *BIAS_MM) / spacing, device)
    field = field - field.mean()
    return 1.0 + strength * field / field.abs().max().clamp(min=1e-6)


def random_anisotropy(image: torch.Tensor, spacing: float, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Resample along a random axis with a random slice thickness between 1 mm and a limit in mm."""
    thickness = uniform(generator, THINNEST_SLICE_MM, limit)
    return resample_slices(image, whole_number(generator, 3), thickness / spacing, uniform(generator))


def resample_slices(image: torch.Tensor, axis: int, thickness: float, offset: float = 0.0) -> torch.Tensor:
    """Average along one array axis over slices, and interpolate linearly between their centres.

    :param axis: 0, 1 or 2.
    :param thickness: slice thickness and distance in voxels; at one or less nothing changes.
    :param offset: where the first slice begins, as a fraction of the thickness.
    """
    if thickness <= 1.0:
        return image
    size = image.shape[axis + 2]
    edges = torch.arange(size, dtype=torch.float32)
    starts = thickness * (torch.arange(int(size / thickness) + 2) - offset)
    overlap = torch.minimum(edges + 1.0, starts[:, None] + thickness) - torch.maximum(edges, starts[:, None])
    average = overlap.clamp(min=0.0)
    kept = average.sum(1) > 0.5
    average, centres = average[kept] / average[kept].sum(1, keepdim=True), starts[kept] + thickness / 2.0
    between = (1.0 - (edges[:, None] + 0.5 - centres).abs() / thickness).clamp(min=0.0)
    blend = (between / between.sum(1, keepdim=True)) @ average
    return torch.movedim(torch.tensordot(blend.to(image.device), image, dims=([1], [axis + 2])), 0, axis + 2)


def random_noise(
    image: torch.Tensor, limit: float, generator: torch.Generator, noise_generator: torch.Generator
) -> torch.Tensor:
    """Add Rician noise, as magnitude images have it, or Gaussian noise, as after filtering.

    :param limit: of the standard deviation; small ones are more frequent.
    :param noise_generator: on the image's device.
    """
    deviation = limit * uniform(generator) ** 2

    def noise() -> torch.Tensor:
        return deviation * torch.randn(image.shape, generator=noise_generator, device=image.device)

    if chance(generator, RICIAN_CHANCE):
        return torch.hypot(image + noise(), noise())
    return image + noise()


def random_gamma(image: torch.Tensor, limit: float, generator: torch.Generator) -> torch.Tensor:
    """Raise intensities from 0 to 1 to a random power, whose logarithm is uniform between ``-limit`` and ``limit``."""
    return image.clamp(0.0, 1.0) ** math.exp(limit * float(signed(generator, 1)))


def crop_field_of_view(
    image: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Remove one end of the field of view in some images.

    :param image: (1, 1, D, H, W).
    :returns: the image, with zeros or its continued border where it was cropped, as preparation leaves it; and 1 where
        it is visible, 0 where it is not, of the same shape.
    """
    visible = torch.ones_like(image)
    if not chance(generator, synthesis.cut_chance):
        return image, visible
    axis = 2 + whole_number(generator, 3)
    size = image.shape[axis]
    depth = min(round(uniform(generator, 0.0, synthesis.cut_mm) / spacing), size // 2)
    far, continued = chance(generator, 0.5), chance(generator, CONTINUED_CHANCE)
    visible.narrow(axis, size - depth if far else 0, depth).zero_()
    border = image.narrow(axis, size - depth - 1 if far else depth, 1)
    return torch.where(visible > 0, image, border if continued else torch.zeros_like(border)), visible


def random_fall_off(image: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Let the signal fall off towards one side, from a random distance from the centre on."""
    offset = centred_points(image.shape[2:], spacing, image.device)
    beyond = _along_random_direction(offset, generator) - uniform(generator, *FALL_OFF_BEGIN_MM)
    return image * (-beyond.clamp(min=0.0) / uniform(generator, *FALL_OFF_MM)).exp()


def random_wrap(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add the image to itself, shifted by about the field of view along one axis, as aliasing does."""
    axis = 2 + whole_number(generator, 3)
    size = image.shape[axis]
    shift = size - whole_number(generator, max(1, size // 4))
    wrapped = torch.zeros_like(image)
    if chance(generator, 0.5):
        wrapped.narrow(axis, shift, size - shift).copy_(image.narrow(axis, 0, size - shift))
    else:
        wrapped.narrow(axis, 0, size - shift).copy_(image.narrow(axis, shift, size - shift))
    return image + uniform(generator, 0.2, 1.0) * wrapped


def erase_outside(image: torch.Tensor, brain: torch.Tensor, spacing: float, generator: torch.Generator) -> torch.Tensor:
    """Erase what lies beyond a random plane and not near the brain.

    :param image: (1, 1, D, H, W).
    :param brain: the fraction of each voxel that is brain, of the same shape.
    """
    offset = centred_points(image.shape[2:], spacing, image.device)
    beyond = _along_random_direction(offset, generator) > uniform(generator, *ERASED_BEYOND_MM)
    near = smooth(brain, uniform(generator, *KEPT_NEAR_MM) / spacing) > 0.05
    return image * (near | ~beyond)


def _along_random_direction(offset: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the distance of points from the centre along a random direction, (1, 1, D, H, W)."""
    direction = torch.randn(3, generator=generator)
    direction = (direction / direction.norm()).to(offset.device).view(1, 3, 1, 1, 1)
    return (offset * direction).sum(1, keepdim=True)


def random_brain_mask(
    brain: torch.Tensor, spacing: float, synthesis: Synthesis, generator: torch.Generator
) -> torch.Tensor:
    """Return a mask as a skull-stripping tool with random errors makes it: a fraction of each voxel.

    :param brain: (1, 1, D, H, W), the true fraction of each voxel.
    """
    sigma = max(synthesis.strip_mm, 0.5)
    wave = smooth_noise(generator, brain.shape[2:], 1, ERROR_MM / spacing, brain.device).clamp(-2.0, 2.0)
    error = synthesis.strip_mm * (0.25 * wave + 0.5 * uniform(generator, -1.0, 1.0))
    # Across a blurred edge the slope is known: the intensity says how many mm inside the edge a voxel lies.
    depth = (smooth(brain, sigma / spacing) - 0.5) * sigma * (2.0 * torch.pi) ** 0.5
    return ((depth - error) / spacing + 0.5).clamp(0.0, 1.0)


def fading(brain: torch.Tensor, spacing: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how an image fades out around a brain, and where it counts for the scale of the intensities.

    :param brain: a mask, (1, 1, D, H, W).
    :returns: a factor from 0 to 1 and a mask, of the same shape; as in :func:`SLSFGRLib.preprocessing.prepare`.
    """
    mask = sitk.GetImageFromArray(brain[0, 0].cpu().numpy().astype(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(mask, insideIsPositive=False, squaredDistance=False)
    distance = spacing * torch.from_numpy(sitk.GetArrayFromImage(distance)).to(brain.device)[None, None]
    return (1.0 - (distance - KEPT_MM) / FADE_MM).clamp(0.0, 1.0), distance < -DEEP_MM


def normalise(image: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
    """Scale intensities to [0, 1] by percentiles, as :func:`SLSFGRLib.preprocessing.prepare` does.

    :param inside: a mask of the voxels whose brightest are 1; by default the head is found by its intensities.
    """
    values = image[..., ::STRIDE, ::STRIDE, ::STRIDE].flatten()
    low, bright = _percentile(values, 0.5), _percentile(values, 99.9)
    if inside is None:
        above = values[values > low + 0.05 * (bright - low)]
    else:
        above = values[inside[..., ::STRIDE, ::STRIDE, ::STRIDE].flatten()]
    high = _percentile(above, 99.5) if len(above) else values.max()
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0.0, 1.0)


def _percentile(values: torch.Tensor, percent: float) -> torch.Tensor:
    return values.kthvalue(1 + round(percent / 100.0 * (len(values) - 1))).values


def _grain(
    shape: torch.Size, spacing: float, noise_generator: torch.Generator, generator: torch.Generator
) -> torch.Tensor:
    """Draw noise with a fine and a coarse grain, (1, 1, D, H, W), about standard normal."""
    device = noise_generator.device
    fine = [max(2, round(size * spacing / TEXTURE_MM[0])) for size in shape]
    grain = resize_image(torch.randn(1, 1, *fine, generator=noise_generator, device=device), shape)
    return grain + smooth_noise(generator, shape, 1, TEXTURE_MM[1] / spacing, device)
