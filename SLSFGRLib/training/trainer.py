"""The training loop: seeded, resumable to the step, with its best weights chosen on validation data."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from ..errors import InputError
from ..io.staging import staged_folder
from ..models.loading import load_model
from ..models.model import Model
from ..runtime.devices import choose_device
from .acceleration import compile_parts, mixed_precision
from .distributed import add_up_gradients, first_process_first, gather, process_count, rank, share
from .loss_weighting import LossWeighting
from .methods.brain_extraction import BrainExtraction
from .methods.method import Method
from .methods.self_supervised import SelfSupervised
from .methods.semi_supervised import SemiSupervised
from .methods.weakly_supervised import WeaklySupervised
from .monitoring.curves import draw_curve
from .monitoring.samples import draw_samples
from .recipe import Recipe
from .sections import METHODS, SECTIONS

CHECKPOINT, MODEL, CURVE, PICTURE = "checkpoint.pt", "model.pt", "curve.csv", "curve.png"
SAMPLES = "samples.png"
# Of the checkpoint's file.
FORMAT = 2
# Larger gradients are clipped, so that a single odd example cannot undo the training. Chosen, not measured.
MAX_GRADIENT_NORM = 5.0
# The running average reaches back about 1 / (1 - DECAY) steps; at first fewer, or it would keep the random initial
# weights for long. Chosen, not measured.
DECAY, WARM_UP_STEPS = 0.997, 10.0
# Each example has a seed of its own: the recipe's seed times this number plus the example's number in the run. It is
# larger than any number of examples, so that the seeds of two recipes do not overlap.
SEED_STRIDE = 7_000_021


class Trainer:
    """A training run of one recipe into one folder.

    The folder gets ``model.pt`` (the best averaged weights so far), ``checkpoint.pt`` (to resume from), ``curve.csv``,
    ``curve.png`` and ``samples.png`` (the network's output for validation examples), after each validation. Among
    several processes (:mod:`SLSFGRLib.training.distributed`) only the first writes.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :raises InputError: the weights to start from do not fit, or the processes cannot share a step equally.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "auto") -> None:
        self.recipe = recipe
        self.folder = folder
        self.device = choose_device(device)
        schedule = recipe.training
        _require_equal_shares(schedule.batch)
        with torch.random.fork_rng():
            torch.manual_seed(schedule.seed)
            network = recipe.model.build()
        if schedule.start:
            _start_from(network, recipe.folder / schedule.start)
        for part in schedule.frozen:
            getattr(network, part).requires_grad_(False)
        self.network = network.to(self.device, memory_format=torch.channels_last_3d)
        self.average = averaged(self.network)
        methods = dict(zip(METHODS, (SelfSupervised, SemiSupervised, WeaklySupervised, BrainExtraction), strict=True))
        self.method: Method = methods[schedule.method](self.network, recipe, self.device, folder)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=schedule.learning_rate)
        self.learning_rate = LambdaLR(self.optimiser, partial(_cosine, schedule.steps))
        self.weighting = LossWeighting(self.method.names, schedule.dynamic_weights)
        compile_parts(self.network, self.device)
        self.step = 0
        self.rows: list[dict] = []

    def resume(self) -> None:
        """Continue from the folder's checkpoint.

        :raises InputError: there is none, or it belongs to another recipe or an older version.
        """
        path = self.folder / CHECKPOINT
        if not path.is_file():
            raise InputError(f"{path}: there is no checkpoint to resume from; train without --resume.")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # on a file of another kind torch's reader may fail in any way
            raise InputError(f"{path}: is not a checkpoint; train without --resume.") from error
        if state.get("format") != FORMAT:
            raise InputError(
                f"{path}: was made by another version; train without --resume into another folder, with the run's "
                f"{MODEL} as start."
            )
        for part, settings in self._settings().items():
            # A longer schedule, or another learning rate, is no reason to start again.
            if part != "training" and state["recipe"][part] != settings:
                raise InputError(f"{path}: was made with another [{part}]; use that recipe or another --output.")
        for name in ("network", "average", "optimiser", "learning_rate"):
            getattr(self, name).load_state_dict(state[name])
        self.learning_rate.base_lrs = [self.recipe.training.learning_rate]
        self.step, self.rows, self.weighting.history = state["step"], state["rows"], state["history"]

    def run(self, progress: Callable[[float, str], None] = lambda fraction, message: None) -> Path:
        """Train to the recipe's last step.

        :param progress: called with the fraction done and a sentence; it may raise to stop.
        :returns: the file of the best model.
        """
        with first_process_first():
            self.method.prepare(lambda fraction: progress(0.0, "Preparing the images"))
        schedule = self.recipe.training
        losses: list[dict[str, float]] = []
        message = "Training"
        while self.step < schedule.steps:
            losses += self._learn()
            self.step += 1
            progress(self.step / schedule.steps, message)
            if self.step % schedule.validate_every == 0 or self.step == schedule.steps:
                self._validate(_means(gather(losses)))
                losses = []
                score = self.rows[-1][self.method.score]
                message = f"Training, {self.method.score_title} {score:.4f} at step {self.step}"
        return self.folder / MODEL

    def _generator(self, number: int) -> torch.Generator:
        """Return random numbers for one of the step's examples, which depend on the seed and the step only.

        Neither resuming nor the number of processes changes them.
        """
        schedule = self.recipe.training
        return torch.Generator().manual_seed(schedule.seed * SEED_STRIDE + self.step * schedule.batch + number)

    def _learn(self) -> list[dict[str, float]]:
        """Take one step on some random examples, and return the unweighted losses of those of this process."""
        self.optimiser.zero_grad(set_to_none=True)
        examples = [self._add_gradients(number) for number in share(range(self.recipe.training.batch))]
        add_up_gradients(self.network.parameters())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimiser.step()
        self.learning_rate.step()
        self.average.update_parameters(self.network)
        return [{name: loss.item() for name, loss in losses.items()} for losses in examples]

    def _add_gradients(self, number: int) -> dict[str, torch.Tensor]:
        """Add the gradients of one of the step's examples, and return its unweighted losses."""
        with mixed_precision(self.device):
            losses = self.method.losses(self.step, self._generator(number))
        weights = self.weighting.weights()
        total = sum(weights.get(name, 1.0) * loss for name, loss in losses.items())
        (total / self.recipe.training.batch).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def _validate(self, means: dict[str, float]) -> None:
        """End an epoch: validate the averaged weights, and write the folder's files."""
        if all(name in means for name in self.method.names):
            self.weighting.end_epoch(means)
        network = self.average.module
        row = {"step": self.step} | {f"training_{name}": value for name, value in means.items()}
        row |= self.method.validate(network)
        self.rows.append(row)
        if rank() == 0:
            self._write()

    def _write(self) -> None:
        """Write the folder's files, after a validation."""
        network = self.average.module
        samples = self.method.samples(network)
        with staged_folder(self.folder) as staging:
            if max(self.rows, key=lambda row: row[self.method.score]) is self.rows[-1]:
                Model(self.recipe.name, self.recipe.model, network, sha256=None).save(staging / MODEL)
            torch.save(self._state(), staging / CHECKPOINT)
            draw_samples(samples, staging / SAMPLES)
            self._write_curve(staging / CURVE)
            draw_curve(self.rows, self.method.score, self.method.score_title, staging / PICTURE)

    def _state(self) -> dict:
        """Return all that :meth:`resume` needs."""
        return {
            "format": FORMAT,
            "recipe": self._settings(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "learning_rate": self.learning_rate.state_dict(),
            "step": self.step,
            "rows": self.rows,
            "history": self.weighting.history,
        }

    def _settings(self) -> dict[str, dict]:
        return {part: asdict(getattr(self.recipe, part)) for part in SECTIONS}

    def _write_curve(self, path: Path) -> None:
        # A loss that began later is missing in the first rows.
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def averaged(network: torch.nn.Module) -> AveragedModel:
    """Return a running average of a network's weights (Polyak & Juditsky 1992), which begins with the present ones.

    With one example a step the weights fluctuate around the best ones; their average is nearer to these at any time, so
    that a training can be stopped at any time.
    """

    @torch.no_grad()
    def update(averages: list[torch.Tensor], weights: list[torch.Tensor], steps: torch.Tensor) -> None:
        torch._foreach_lerp_(averages, weights, 1.0 - min(DECAY, float(steps) / (float(steps) + WARM_UP_STEPS)))

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    # Otherwise the first update would replace the present weights.
    average.n_averaged += 1
    return average


def _require_equal_shares(batch: int) -> None:
    """Refuse a number of examples that the processes cannot share equally."""
    if batch % process_count():
        raise InputError(
            f"training.batch is {batch}, which {process_count()} processes cannot share equally; set it to a multiple "
            f"of {process_count()} in the recipe."
        )


def _start_from(network: torch.nn.Module, path: Path) -> None:
    """Give a network the weights of a trained model.

    :raises InputError: there is no such model, or it has another form.
    """
    try:
        network.load_state_dict(load_model(str(path)).network.state_dict())
    except RuntimeError as error:
        raise InputError(f"{path}: is a model of another form than the recipe's; start from one that fits.") from error


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over the examples that had it."""
    names = dict.fromkeys(name for row in losses for name in row)
    values = {name: [row[name] for row in losses if name in row] for name in names}
    return {name: sum(of_name) / len(of_name) for name, of_name in values.items()}


def _cosine(steps: int, step: int) -> float:
    """Return the fraction of the learning rate in a step: half a cosine, from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))
