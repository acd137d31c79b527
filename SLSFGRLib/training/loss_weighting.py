"""The weights of several losses: fixed, or by dynamic weight averaging."""

from __future__ import annotations

import math

# Limit of r_k: a task whose loss has just risen manyfold must not dominate the others. Chosen, not measured.
LARGEST_RATIO = 5.0


class DynamicWeightAverage:
    """Dynamic weight averaging: a task counts more if its loss falls slowly (Liu, Johns & Davison 2019, equation 7).

    With L_k(t) the mean loss of task k over epoch t, ``r_k = L_k(t - 1) / L_k(t - 2)`` and
    ``weight_k = K exp(r_k / T) / sum_i exp(r_i / T)``; all weights are one in the first two epochs. Losses must be
    positive and fall towards zero. Regularisation is no task: it starts at zero and grows.

    :param names: of the tasks.
    :param temperature: T; the larger, the more equal the weights. 2 is the paper's.
    """

    def __init__(self, names: tuple[str, ...], temperature: float = 2.0) -> None:
        self.names = names
        self.temperature = temperature
        self.history: list[dict[str, float]] = []

    def weights(self) -> dict[str, float]:
        """Return the tasks' weights in the present epoch; they sum to the number of tasks."""
        if len(self.history) < 2:
            return dict.fromkeys(self.names, 1.0)
        last, before = self.history[-1], self.history[-2]
        ratios = [min(last[name] / max(before[name], 1e-12), LARGEST_RATIO) for name in self.names]
        powers = [math.exp(ratio / self.temperature) for ratio in ratios]
        return {name: len(powers) * power / sum(powers) for name, power in zip(self.names, powers, strict=True)}

    def end_epoch(self, means: dict[str, float]) -> None:
        """Record the tasks' mean losses over an epoch."""
        self.history.append({name: means[name] for name in self.names})


class FixedWeights:
    """Weights of one for every task.

    :param names: of the tasks.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.history: list[dict[str, float]] = []

    def weights(self) -> dict[str, float]:
        """Return one for each task."""
        return dict.fromkeys(self.names, 1.0)

    def end_epoch(self, means: dict[str, float]) -> None:
        """Record the tasks' mean losses over an epoch."""
        self.history.append({name: means[name] for name in self.names})
