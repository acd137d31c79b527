"""Synthetic pairs to validate on: the same in every run, whatever the recipe's seed, so that runs can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ...synthesis import LabelMap, Pair, Synthesis, draw_pair

# Chosen, not measured. Each label map is fixed and moving this often, with another contrast each time.
ROUNDS = 2
SEED = 20_260_000


def validation_pairs(
    maps: Sequence[LabelMap], shape: Sequence[int], synthesis: Synthesis, spacing: float
) -> Iterator[Pair]:
    """Make pairs of each label map and the next one.

    :param maps: two or more, :func:`SLSFGRLib.synthesis.align_label_maps`, on the device to work on.
    :param shape: of the images.
    :param spacing: of their voxels, in mm.
    """
    for number in range(ROUNDS * len(maps)):
        generator = torch.Generator().manual_seed(SEED + number)
        two = [maps[(number + shift) % len(maps)] for shift in (0, 1)]
        yield draw_pair(two, shape, synthesis, generator, spacing)
