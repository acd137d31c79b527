"""Train SL-SFGR stage by stage for so many seconds: ``python Testing/gpu/train_stages.py FOLDER OUTPUT --seconds 540``.

FOLDER is what ``pack_training.py`` made. OUTPUT gets each stage's ``model.pt``, and the checkpoint of the one that the
time ended in; copied into FOLDER/state they let the next call go on from there.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from time import monotonic

from pack_training import STAGES

from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.trainer import CHECKPOINT, CURVE, MODEL


class TimeIsSpentError(Exception):
    """The machine is to be given back."""


def main() -> None:
    """Train until all stages are done or the time is spent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made by pack_training.py")
    parser.add_argument("output", type=Path, help="what is to be brought back")
    parser.add_argument("--seconds", type=float, default=540.0, help="until the last checkpoint (default: 540)")
    arguments = parser.parse_args()
    os.environ["SLSFGR_DATA"] = str(arguments.folder.resolve())
    end = monotonic() + arguments.seconds
    try:
        for stage, recipe in STAGES.items():
            train_stage(stage, arguments.folder / recipe, arguments.output, end)
    except TimeIsSpentError as stop:
        print(stop, flush=True)


def train_stage(stage: str, recipe: Path, output: Path, end: float) -> None:
    """Train a stage from where it was left, and copy what it has made.

    :param end: as of ``time.monotonic``.
    :raises TimeIsSpentError: before the stage was done.
    """
    folder, state = recipe.parent / stage, recipe.parent / "state"
    # Both before the training: a copy that fails afterwards would cost all of it.
    for place in (folder, output):
        place.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT, MODEL):
        if (state / f"{stage}.{name}").is_file():
            shutil.copyfile(state / f"{stage}.{name}", folder / name)
    # A stage that was done left no checkpoint.
    is_done = (folder / MODEL).is_file() and not (folder / CHECKPOINT).is_file()
    if not is_done:
        trainer = Trainer(read_recipe(recipe), folder)
        if (folder / CHECKPOINT).is_file():
            trainer.resume()
        trainer.run(_BringingBack(trainer, stage, output, end))
        # The last validation comes after the last call of what brings back.
        shutil.copyfile(folder / CURVE, output / f"{stage}.{CURVE}")
        (folder / CHECKPOINT).unlink()
        (output / f"{stage}.{CHECKPOINT}").unlink(missing_ok=True)
    shutil.copyfile(folder / MODEL, output / f"{stage}.{MODEL}")


class _BringingBack:
    """Copies what a training has made after each of its validations, and stops it when the time is spent."""

    def __init__(self, trainer: Trainer, stage: str, output: Path, end: float) -> None:
        self.trainer, self.stage, self.output, self.end = trainer, stage, output, end
        self.seen = len(trainer.rows)

    def __call__(self, fraction: float, message: str) -> None:
        rows = self.trainer.rows
        if len(rows) > self.seen:
            self.seen = len(rows)
            print(f"{self.stage}: {rows[-1]}", flush=True)
            for name in (CHECKPOINT, MODEL, CURVE):
                shutil.copyfile(self.trainer.folder / name, self.output / f"{self.stage}.{name}")
        if monotonic() > self.end:
            step = self.trainer.step
            raise TimeIsSpentError(f"{self.stage}: stopped at step {step}; it goes on from its last checkpoint.")


if __name__ == "__main__":
    main()
