"""The training loop: seeded, resumable to the step, with its best weights chosen on data it never learns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ..errors import InputError
from ..models.loading import load_model
from ..models.model import Model
from ..runtime.devices import choose_device
from .acceleration import compile_parts, mixed_precision
from .loss_weighting import DynamicWeightAverage, FixedWeights
from .methods.self_supervised import SelfSupervised
from .methods.semi_supervised import SemiSupervised
from .methods.weakly_supervised import WeaklySupervised
from .monitoring.curves import draw_curve
from .monitoring.samples import draw_samples
from .recipe import Recipe
from .weight_averaging import AveragedWeights

CHECKPOINT, MODEL, CURVE, PICTURE = "checkpoint.pt", "model.pt", "curve.csv", "curve.png"
SAMPLES = "samples.png"
METHODS = {
    "self_supervised": SelfSupervised,
    "semi_supervised": SemiSupervised,
    "weakly_supervised": WeaklySupervised,
}
# Longer gradients than this are shortened: one odd example must not undo what was learned.
LONGEST_GRADIENT = 5.0


class Trainer:
    """Trains one recipe into one folder.

    The folder gets ``model.pt`` (the best averaged weights so far), ``checkpoint.pt`` (to resume from), ``curve.csv``,
    ``curve.png`` and ``samples.png`` (what the network makes of validation examples); each is replaced as a whole.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :raises InputError: the recipe names a method that there is not, or weights to start from that do not fit.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "auto") -> None:
        if recipe.training.method not in METHODS:
            raise InputError(
                f"method {recipe.training.method!r}: there is none of this name; use {', '.join(METHODS)}."
            )
        self.recipe = recipe
        self.folder = folder
        self.device = choose_device(device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed)
            network = recipe.model.build()
        if recipe.training.start:
            _start_from(network, recipe.folder / recipe.training.start)
        _freeze(network, recipe.training.frozen)
        self.network = network.to(self.device, memory_format=torch.channels_last_3d)
        self.average = AveragedWeights(self.network)
        self.task = METHODS[recipe.training.method](self.network, recipe, self.device, folder)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.training.learning_rate)
        self.balance = (DynamicWeightAverage if recipe.training.dynamic_weights else FixedWeights)(self.task.names)
        compile_parts(self.network, self.device)
        self.step = 0
        self.rows: list[dict] = []

    def resume(self) -> None:
        """Go on from the folder's checkpoint.

        :raises InputError: there is none, or it belongs to another recipe.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            raise InputError(f"{path}: there is no checkpoint to resume from; train without --resume.")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # on a file of another kind torch's reader may stumble in any way
            raise InputError(f"{path}: is not a checkpoint; train without --resume.") from error
        for part, settings in self._settings().items():
            # What an older version did not know has its default.
            known = asdict(self.recipe.SECTIONS[part]()) | state["recipe"].get(part, {})
            if known != settings:
                raise InputError(f"{path}: was made with another [{part}]; use that recipe or another --output.")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.rows, self.balance.history = state["step"], state["rows"], state["history"]

    def run(self, progress: Callable[[float, str], None] = lambda fraction, message: None) -> Path:
        """Train to the recipe's last step.

        :param progress: called with the fraction done and a sentence; it may raise to stop.
        :returns: the file of the best model.
        """
        self.task.prepare(lambda fraction: progress(0.0, "Preparing the images"))
        schedule = self.recipe.training
        losses: list[dict[str, float]] = []
        message = "Training"
        while self.step < schedule.steps:
            losses.append(self._learn())
            self.step += 1
            progress(self.step / schedule.steps, message)
            if self.step % schedule.validate_every == 0 or self.step == schedule.steps:
                self._record(_means(losses))
                losses = []
                score = self.rows[-1][self.task.score]
                message = f"Training, {self.task.score_title} {score:.4f} at step {self.step}"
        return self.folder / MODEL

    def _generator(self) -> torch.Generator:
        """Random numbers that depend on the seed and the step alone, so that resuming changes nothing."""
        return torch.Generator().manual_seed(self.recipe.training.seed * 7_000_021 + self.step)

    def _learn(self) -> dict[str, float]:
        """One step on one random example; returns the losses, unweighted."""
        schedule = self.recipe.training
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / schedule.steps))
        with mixed_precision(self.device):
            losses = self.task.losses(self.step, self._generator())
        weights = self.balance.weights()
        total = sum(weights.get(name, 1.0) * loss for name, loss in losses.items())
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
        self.optimiser.step()
        self.average.update(self.network)
        return {name: loss.item() for name, loss in losses.items()}

    @torch.no_grad()
    def _record(self, means: dict[str, float]) -> None:
        """End an epoch: look at the validation data, note the figures, keep the weights."""
        if all(name in means for name in self.task.names):
            self.balance.end_epoch(means)
        row = {"step": self.step} | {f"training_{name}": value for name, value in means.items()}
        with self.average.in_place_of(self.network):
            row |= self.task.validate()
            samples = self.task.samples()
            self.rows.append(row)
            best = max(self.rows, key=lambda other: other[self.task.score])
            if best is row:
                model = Model(self.recipe.name, self.recipe.model, self.network, sha256=None)
                _replace(self.folder / MODEL, model.save)
        state = {
            "recipe": self._settings(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "rows": self.rows,
            "history": self.balance.history,
        }
        _replace(self.folder / CHECKPOINT, lambda path: torch.save(state, path))
        _replace(self.folder / SAMPLES, lambda path: draw_samples(samples, path))
        _replace(self.folder / CURVE, self._write_curve)
        _replace(
            self.folder / PICTURE, lambda path: draw_curve(self.rows, self.task.score, self.task.score_title, path)
        )

    def _settings(self) -> dict[str, dict]:
        """All that may not change between a checkpoint and its resumption."""
        return {part: asdict(getattr(self.recipe, part)) for part in self.recipe.SECTIONS if part != "training"}

    def _write_curve(self, path: Path) -> None:
        # A loss that began later has no figure in the first rows.
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def _start_from(network: torch.nn.Module, path: Path) -> None:
    """Give a network the weights of a trained model.

    :raises InputError: there is no such model, or it has another form.
    """
    try:
        network.load_state_dict(load_model(str(path)).network.state_dict())
    except RuntimeError as error:
        raise InputError(f"{path}: is a model of another form than the recipe's; start from one that fits.") from error


def _freeze(network: torch.nn.Module, parts: tuple[str, ...]) -> None:
    """Let some parts of a network keep their weights.

    :raises InputError: the network has no such part.
    """
    for part in parts:
        if not isinstance(getattr(network, part, None), torch.nn.Module):
            known = ", ".join(name for name, _ in network.named_children())
            raise InputError(f"[training] frozen: the network has no part {part!r}; use some of {known}.")
        getattr(network, part).requires_grad_(False)


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each loss over the steps that had it."""
    names = dict.fromkeys(name for row in losses for name in row)
    values = {name: [row[name] for row in losses if name in row] for name in names}
    return {name: sum(of_name) / len(of_name) for name, of_name in values.items()}


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside the old one and put it in its place when it is whole."""
    scratch = path.with_name(f".{path.stem}.new{path.suffix}")
    write(scratch)
    if scratch.exists():
        scratch.replace(path)
