"""Instance optimisation: train a network on the very pair it registers (Li & Fan 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..losses.multiresolution import MultiResolutionObjective
from ..spatial.fields import resize_field

# The mean loss over this many steps must go on falling.
PATIENCE = 20


@dataclass(frozen=True)
class InstanceOptimisation:
    """Length and pace of an instance optimisation.

    :param steps: of Adam at most.
    :param learning_rate: of Adam.
    :param tolerance: stop when the mean loss of twenty steps falls by a smaller share than this.
    """

    steps: int = 150
    learning_rate: float = 1e-3
    tolerance: float = 1e-3


def optimise_network(
    network: torch.nn.Module,
    moving: torch.Tensor,
    fixed: torch.Tensor,
    objective: MultiResolutionObjective,
    settings: InstanceOptimisation,
    update: Callable[[float], None] = lambda fraction: None,
) -> tuple[torch.Tensor, list[float]]:
    """Minimise the objective over the network's weights on one pair.

    :param network: is changed; pass a copy to keep the original.
    :param moving: (1, 1, D, H, W) on the fixed image's grid.
    :param update: called with the fraction done.
    :returns: the finest field of the best step, (1, 3, D, H, W) in voxels, and the loss at each step.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    losses: list[float] = []
    best = torch.zeros(1, 3, *fixed.shape[2:], device=fixed.device)
    with torch.enable_grad():
        for step in range(settings.steps):
            update(step / settings.steps)
            fields = network(moving, fixed)
            loss = objective(fields, moving, fixed)["loss"]
            losses.append(loss.item())
            if losses[-1] <= min(losses):
                best = resize_field(fields[-1].detach(), fixed.shape[2:]).clone()
            if _has_settled(losses, settings.tolerance):
                break
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return best, losses


def _has_settled(losses: list[float], tolerance: float) -> bool:
    if len(losses) < 2 * PATIENCE:
        return False
    before = sum(losses[-2 * PATIENCE : -PATIENCE]) / PATIENCE
    now = sum(losses[-PATIENCE:]) / PATIENCE
    return before - now < tolerance * abs(before)
