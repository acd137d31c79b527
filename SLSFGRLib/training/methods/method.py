"""What a training run must know how to do, whatever it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch


class Task(Protocol):
    """Draws examples, judges the network on them, and measures how far it has come.

    ``names`` are the losses that the balance weighs; ``score`` is the validation figure by which the best weights
    are chosen, the higher the better, and ``score_title`` what to call it.
    """

    names: tuple[str, ...]
    score: str
    score_title: str

    def prepare(self, update: Callable[[float], None]) -> None:
        """Load the data; ``update`` is called with the fraction done."""

    def losses(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The losses of one random example, all scalars; those not in ``names`` count as they are.

        A loss may be missing at a step that says nothing about it.
        """

    def validate(self) -> dict[str, float]:
        """Figures on data that is never learned from."""
