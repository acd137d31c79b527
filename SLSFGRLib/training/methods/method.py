"""What the trainer needs of a training method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from ..monitoring.samples import Sample


class Method(Protocol):
    """A training method: it draws examples, computes the losses on them, and validates.

    It is constructed with the network, the recipe, the device and the folder of the training run, in which it may keep
    prepared data. ``names`` are the losses that are weighted against each other; ``score`` is the validation figure by
    which the best weights are chosen, the higher the better, and ``score_title`` its name in messages and pictures.
    """

    names: tuple[str, ...]
    score: str
    score_title: str

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the data.

        :param update: called with the fraction done.
        :raises InputError: there is too little, or a file is used for both training and validation.
        """

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the scalar losses of one random example; those not in ``names`` have a weight of one.

        A loss may be missing in some steps.
        """

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """Return figures of a network on data that is never trained on."""

    def samples(self, network: torch.nn.Module) -> list[Sample]:
        """Return the output of a network for a few of these data."""
