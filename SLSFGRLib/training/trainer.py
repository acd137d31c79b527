"""The training loop: seeded, resumable to the step, with its best weights chosen on images it never learns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ..devices import choose_device
from ..errors import InputError
from ..fields import jacobian_determinant, resize_field, warp
from ..models import Model
from ..similarity import LocalCorrelation
from .cases import draw_pair, load_aligned
from .curves import draw_curve
from .recipe import Recipe

CHECKPOINT, MODEL, CURVE, PICTURE = "checkpoint.pt", "model.pt", "curve.csv", "curve.png"
COLUMNS = ("step", "training_loss", "validation_loss", "validation_likeness", "folding_percent")


class Trainer:
    """Trains one recipe into one folder.

    The folder gets ``model.pt`` (the best weights so far), ``checkpoint.pt`` (to resume from), ``curve.csv``
    and ``curve.png``; each is replaced as a whole.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "auto") -> None:
        self.recipe = recipe
        self.folder = folder
        self.device = choose_device(device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed)
            network = recipe.model.build()
        self.network = network.to(self.device, memory_format=torch.channels_last_3d)
        self.objective = recipe.model.objective()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.training.learning_rate)
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
        for part in ("model", "data", "augmentation"):
            if state["recipe"][part] != asdict(getattr(self.recipe, part)):
                raise InputError(f"{path}: was made with another [{part}]; use that recipe or another --output.")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.rows = state["step"], state["rows"]

    def run(self, progress: Callable[[float, str], None] = lambda fraction, message: None) -> Path:
        """Train to the recipe's last step.

        :param progress: called with the fraction done and a sentence; it may raise to stop.
        :returns: the file of the best model.
        """
        training, validation = self._images(progress)
        schedule = self.recipe.training
        losses: list[float] = []
        message = "Training"
        while self.step < schedule.steps:
            losses.append(self._learn(training))
            self.step += 1
            progress(self.step / schedule.steps, message)
            if self.step % schedule.validate_every == 0 or self.step == schedule.steps:
                self._record(sum(losses) / len(losses), validation)
                losses = []
                message = f"Training, validation LNCC {self.rows[-1]['validation_likeness']:.4f} at step {self.step}"
        return self.folder / MODEL

    def _images(self, progress: Callable[[float, str], None]) -> tuple[torch.Tensor, torch.Tensor]:
        """The training images; and the last of them with the validation images behind it; all aligned."""
        files, held_out = self.recipe.files("training"), self.recipe.files("validation")
        if not held_out:
            raise InputError("training needs at least one image in the recipe's [data] validation.")
        both = {file.resolve() for file in files} & {file.resolve() for file in held_out}
        if both:
            raise InputError(f"{min(both)}: is both a training and a validation image; remove it from one of them.")
        spacing = float(self.recipe.model.factor)
        images = load_aligned(files + held_out, spacing, 4, lambda fraction: progress(0.0, "Preparing the images")).to(
            self.device
        )
        return images[: len(files)], images[len(files) - 1 :]

    def _generator(self, step: int) -> torch.Generator:
        """Random numbers that depend on the seed and the step alone, so that resuming changes nothing."""
        return torch.Generator().manual_seed(self.recipe.training.seed * 7_000_021 + step)

    def _learn(self, images: torch.Tensor) -> float:
        """One step on one random pair; returns the loss."""
        schedule = self.recipe.training
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / schedule.steps))
        moving, fixed = draw_pair(
            images, self.recipe.augmentation, float(self.recipe.model.factor), self._generator(self.step)
        )
        loss = self.objective(self.network(moving, fixed), moving, fixed)["loss"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _record(self, training_loss: float, images: torch.Tensor) -> None:
        """Look at the validation pairs, note the figures, keep the weights."""
        row = {"step": self.step, "training_loss": training_loss} | self._validated(images)
        self.rows.append(row)
        best = max(self.rows, key=lambda other: other["validation_likeness"])
        if best is row:
            model = Model(self.recipe.name, self.recipe.model, self.network, sha256=None)
            _replace(self.folder / MODEL, model.save)
        state = {
            "recipe": {part: asdict(getattr(self.recipe, part)) for part in ("model", "data", "augmentation")},
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "rows": self.rows,
        }
        _replace(self.folder / CHECKPOINT, lambda path: torch.save(state, path))
        _replace(self.folder / CURVE, self._write_curve)
        _replace(self.folder / PICTURE, lambda path: draw_curve(self.rows, path))

    def _validated(self, images: torch.Tensor) -> dict[str, float]:
        """Mean figures over pairs of neighbours, in which the fixed image was never learned from.

        :param images: (1 + N, 1, D, H, W), the first one a training image.
        """
        figures = []
        for moving, fixed in zip(images[:-1].split(1), images[1:].split(1), strict=True):
            fields = self.network(moving, fixed)
            field = resize_field(fields[-1], fixed.shape[2:])
            figures.append(
                {
                    "validation_loss": float(self.objective(fields, moving, fixed)["loss"]),
                    "validation_likeness": 1.0 - float(LocalCorrelation()(warp(moving, field), fixed)),
                    "folding_percent": 100.0 * float((jacobian_determinant(field) <= 0).float().mean()),
                }
            )
        return {name: sum(figure[name] for figure in figures) / len(figures) for name in figures[0]}

    def _write_curve(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside the old one and put it in its place when it is whole."""
    scratch = path.with_name(f".{path.stem}.new{path.suffix}")
    write(scratch)
    if scratch.exists():
        scratch.replace(path)
