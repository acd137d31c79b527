"""Random numbers: everything is decided by one generator on the CPU, whatever the device of the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..spatial.fields import resize_image, smooth


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def chance(generator: torch.Generator, probability: float) -> bool:
    """Whether something happens."""
    return float(torch.rand((), generator=generator)) < probability


def whole_number(generator: torch.Generator, count: int) -> int:
    """One of 0 ... count - 1."""
    return int(torch.randint(count, (), generator=generator))


def signed(generator: torch.Generator, count: int = 3) -> torch.Tensor:
    """Numbers between -1 and 1, (count,)."""
    return 2.0 * torch.rand(count, generator=generator) - 1.0


def fork(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator on another device, for noise in every voxel, decided by this one."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def smooth_noise(
    generator: torch.Generator, shape: Sequence[int], channels: int, period: float, device: torch.device
) -> torch.Tensor:
    """Smooth random fields, about standard normal at their knots.

    :param period: distance of the knots, in voxels.
    :returns: (1, channels, D, H, W).
    """
    knots = [max(2, round(size / period) + 1) for size in shape]
    noise = torch.randn(1, channels, *knots, generator=generator).to(device)
    # Linear interpolation alone would leave creases at the knots.
    finer = resize_image(noise, [min(size, 3 * count) for size, count in zip(shape, knots, strict=True)])
    return resize_image(smooth(finer, 1.0), shape)
