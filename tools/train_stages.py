"""Train SL-SFGR stage by stage for a limited time: ``python -m tools.train_stages FOLDER OUTPUT --seconds 540``.

FOLDER was made by ``pack_training.py``. OUTPUT receives the ``model.pt`` of each stage, and the checkpoint of the stage
that was not completed. Copy them into FOLDER/state, and the next call continues from there.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.trainer import CHECKPOINT, CURVE, MODEL

from .pack_training import STAGES


class TimeIsSpentError(Exception):
    """The time is over."""


def main() -> None:
    """Train until all stages are done or the time is spent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made by pack_training.py")
    parser.add_argument("output", type=Path, help="to be copied back")
    parser.add_argument("--seconds", type=float, default=540.0, help="until the last checkpoint (default: 540)")
    arguments = parser.parse_args()
    os.environ["SLSFGR_DATA"] = str(arguments.folder.resolve())
    end = monotonic() + arguments.seconds
    try:
        for stage, recipe in STAGES.items():
            train_stage(stage, arguments.folder / recipe, arguments.output, lambda: monotonic() > end)
    except TimeIsSpentError as stop:
        print(stop, flush=True)


def train_stage(stage: str, recipe: Path, output: Path, is_time_spent: Callable[[], bool]) -> None:
    """Train a stage from its last checkpoint, and copy its files to the output.

    :param is_time_spent: asked after each step.
    :raises TimeIsSpentError: the time was over before the stage was complete.
    """
    folder, state = recipe.parent / stage, recipe.parent / "state"
    # Both before the training: if copying failed afterwards, the training would be lost.
    for place in (folder, output):
        place.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT, MODEL):
        if (state / f"{stage}.{name}").is_file():
            shutil.copyfile(state / f"{stage}.{name}", folder / name)
    # A stage that is complete has left no checkpoint.
    is_done = (folder / MODEL).is_file() and not (folder / CHECKPOINT).is_file()
    if not is_done:
        trainer = Trainer(read_recipe(recipe), folder)
        if (folder / CHECKPOINT).is_file():
            trainer.resume()
        trainer.run(_Progress(trainer, stage, output, is_time_spent))
        # The last validation comes after the last progress.
        shutil.copyfile(folder / CURVE, output / f"{stage}.{CURVE}")
        (folder / CHECKPOINT).unlink()
        (output / f"{stage}.{CHECKPOINT}").unlink(missing_ok=True)
    shutil.copyfile(folder / MODEL, output / f"{stage}.{MODEL}")


class _Progress:
    """A callback that copies a training's files after each validation, and stops it when the time is over."""

    def __init__(self, trainer: Trainer, stage: str, output: Path, is_time_spent: Callable[[], bool]) -> None:
        self.trainer, self.stage, self.output, self.is_time_spent = trainer, stage, output, is_time_spent
        self.seen = len(trainer.rows)

    def __call__(self, fraction: float, message: str) -> None:
        rows = self.trainer.rows
        if len(rows) > self.seen:
            self.seen = len(rows)
            print(f"{self.stage}: {rows[-1]}", flush=True)
            for name in (CHECKPOINT, MODEL, CURVE):
                shutil.copyfile(self.trainer.folder / name, self.output / f"{self.stage}.{name}")
        if self.is_time_spent():
            step = self.trainer.step
            raise TimeIsSpentError(f"{self.stage}: stopped at step {step}; it continues from its last checkpoint.")


if __name__ == "__main__":
    main()
