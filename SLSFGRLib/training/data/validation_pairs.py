"""Synthetic pairs to validate on: the same in every run, whatever the recipe's seed, so that runs can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ...synthesis import LabelMap, Pair, Synthesiser

# Chosen, not measured. Each label map is fixed and moving this often, with another contrast each time.
ROUNDS = 2
SEED = 20_260_000


def validation_pairs(maps: Sequence[LabelMap], synthesiser: Synthesiser) -> Iterator[Pair]:
    """Make pairs of each label map and the next one; there must be two or more."""
    for number in range(ROUNDS * len(maps)):
        two = [maps[(number + shift) % len(maps)] for shift in (0, 1)]
        yield synthesiser.pair(two, torch.Generator().manual_seed(SEED + number))
