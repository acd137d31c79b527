"""Training samples from real images with labels: another shape, pose and quality each time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ...io.label_table import mirrored_channels
from ...spatial.fields import sample
from ...synthesis import Synthesis
from ...synthesis.acquisition import acquired, cut, scaled
from ...synthesis.deformations import random_positions
from ...synthesis.poses import random_pose
from ...synthesis.rng import chance, signed, whole_number
from .label_propagation import LabelledImage


def draw_labelled_sample(
    images: Sequence[LabelledImage],
    shape: Sequence[int],
    synthesis: Synthesis,
    generator: torch.Generator,
    spacing: float = 2.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one of the images as a head of another shape in another pose, as a worse scanner would give it.

    :param images: on the device that the sample is to be on, with voxels of ``spacing`` mm.
    :param shape: of the grid; the brain's middle is near its middle.
    :param generator: on the CPU; decides everything.
    :returns: the image, (1, 1, D, H, W) in [0, 1], and the shares of the channels, (1, CHANNELS, D, H, W).
    """
    chosen = images[whole_number(generator, len(images))]
    pose = random_pose(synthesis, generator)
    positions = random_positions(shape, spacing, synthesis, pose, generator, chosen.image.device) / spacing
    flipped = chance(generator, synthesis.flip_chance)
    if flipped:
        positions = positions * positions.new_tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1, 1)
    voxels = positions + chosen.centre.view(1, 3, 1, 1, 1)
    image, shares = sample(chosen.image, voxels), sample(chosen.shares, voxels)
    if flipped:
        shares = shares[:, torch.as_tensor(mirrored_channels(), dtype=torch.long, device=shares.device)]
    image = acquired(image, torch.zeros_like(image), spacing, synthesis, generator)
    image, seen = cut(image, spacing, synthesis, generator)
    shares = shares * seen
    shares[:, :1] += 1.0 - seen
    exponent = math.exp(synthesis.gamma * float(signed(generator, 1)))
    return scaled(image) ** exponent, shares
