"""Training samples from real images with propagated labels: another shape, pose and image quality each time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...io.label_table import mirrored_channels
from ...spatial.fields import sample
from ...synthesis import Synthesiser
from ...synthesis.acquisition import crop_field_of_view, normalise, random_gamma, simulate_acquisition
from ...synthesis.deformations import random_points
from ...synthesis.poses import random_pose
from ...synthesis.rng import chance, whole_number
from .label_propagation import LabelledImage


def draw_labelled_sample(
    images: Sequence[LabelledImage], synthesiser: Synthesiser, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one of the images, deform it, move it and degrade it.

    :param images: on the device of the sample, with the synthesiser's spacing.
    :param generator: on the CPU; decides everything.
    :returns: the image, (1, 1, D, H, W) in [0, 1], and the probabilities of the channels, (1, channels, D, H, W).
    """
    settings, shape, spacing = synthesiser.settings, synthesiser.shape, synthesiser.spacing
    chosen = images[whole_number(generator, len(images))]
    pose = random_pose(settings, generator)
    points = random_points(shape, spacing, settings, pose, generator, chosen.image.device) / spacing
    flipped = chance(generator, settings.flip_chance)
    if flipped:
        points = points * points.new_tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1, 1)
    voxels = points + chosen.centre.view(1, 3, 1, 1, 1)
    image, probabilities = sample(chosen.image, voxels), sample(chosen.probabilities, voxels)
    if flipped:
        mirrored = torch.as_tensor(mirrored_channels(), dtype=torch.long, device=probabilities.device)
        probabilities = probabilities[:, mirrored]
    image = simulate_acquisition(image, torch.zeros_like(image), spacing, settings, generator)
    image, visible = crop_field_of_view(image, spacing, settings, generator)
    probabilities = probabilities * visible
    probabilities[:, :1] += 1.0 - visible
    return random_gamma(normalise(image), settings.gamma, generator), probabilities
