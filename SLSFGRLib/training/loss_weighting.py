"""The weights of several losses: fixed, or by dynamic weight averaging."""

from __future__ import annotations

import math

# T, as in the paper; a larger one would make the weights more equal.
TEMPERATURE = 2.0
# Limit of r_k: a task whose loss has just risen manyfold must not dominate the others. Chosen, not measured.
LARGEST_RATIO = 5.0


class LossWeighting:
    """Weights of several tasks, which are one, or follow dynamic weight averaging (Liu, Johns & Davison 2019).

    There a task counts more if its loss falls slowly (equation 7). With L_k(t) the mean loss of task k over epoch t,
    ``r_k = L_k(t - 1) / L_k(t - 2)`` and ``weight_k = K exp(r_k / T) / sum_i exp(r_i / T)``; all weights are one in the
    first two epochs. Losses must be positive and fall towards zero. Regularisation is no task: it starts at zero and
    grows.

    :param names: of the tasks.
    """

    def __init__(self, names: tuple[str, ...], is_dynamic: bool) -> None:
        self.names = names
        self.is_dynamic = is_dynamic
        self.history: list[dict[str, float]] = []

    def weights(self) -> dict[str, float]:
        """Return the tasks' weights in the present epoch; they sum to the number of tasks."""
        if not self.is_dynamic or len(self.history) < 2:
            return dict.fromkeys(self.names, 1.0)
        last, before = self.history[-1], self.history[-2]
        ratios = [min(last[name] / max(before[name], 1e-12), LARGEST_RATIO) for name in self.names]
        powers = [math.exp(ratio / TEMPERATURE) for ratio in ratios]
        return {name: len(powers) * power / sum(powers) for name, power in zip(self.names, powers, strict=True)}

    def end_epoch(self, means: dict[str, float]) -> None:
        """Record the tasks' mean losses over an epoch."""
        self.history.append({name: means[name] for name in self.names})
