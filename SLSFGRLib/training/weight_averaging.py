"""The running average of a network's weights over the last steps (Polyak & Juditsky 1992).

With one example a step the weights jump about the best ones; their average lies nearer to these at any time, so a
training may be stopped whenever the time is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# The average reaches back about 1 / (1 - DECAY) steps.
DECAY = 0.997


class AveragedWeights:
    """An exponential average of the weights of one network.

    :param network: its present weights are the first.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        # At first the average reaches back over a few steps only, or it would keep the random weights for long.
        decay = min(DECAY, self.steps / (self.steps + 10.0))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value, 1.0 - decay)

    @contextmanager
    def in_place_of(self, network: torch.nn.Module) -> Iterator[None]:
        """Let the network have the averaged weights for a while."""
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.weights)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict:
        """What a checkpoint has to keep."""
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a checkpoint."""
        self.steps, self.weights = state["steps"], state["weights"]
