"""Random numbers from one generator on the CPU, so that every device gets the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..spatial.fields import resize_image, smooth


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """Draw a number between two limits."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def chance(generator: torch.Generator, probability: float) -> bool:
    """Draw whether something happens."""
    return float(torch.rand((), generator=generator)) < probability


def whole_number(generator: torch.Generator, count: int) -> int:
    """Draw one of 0 ... count - 1."""
    return int(torch.randint(count, (), generator=generator))


def signed(generator: torch.Generator, count: int = 3) -> torch.Tensor:
    """Draw numbers between -1 and 1, (count,)."""
    return 2.0 * torch.rand(count, generator=generator) - 1.0


def fork(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator on another device, seeded by this one, for noise in every voxel."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def smooth_noise(
    generator: torch.Generator, shape: Sequence[int], channels: int, period: float, device: torch.device
) -> torch.Tensor:
    """Draw smooth random fields, about standard normal at their control points.

    :param period: distance of the control points, in voxels.
    :returns: (1, channels, D, H, W).
    """
    points = [max(2, round(size / period) + 1) for size in shape]
    noise = torch.randn(1, channels, *points, generator=generator).to(device)
    # Linear interpolation alone would leave creases at the control points.
    finer = resize_image(noise, [min(size, 3 * count) for size, count in zip(shape, points, strict=True)])
    return resize_image(smooth(finer, 1.0), shape)
