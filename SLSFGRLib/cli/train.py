"""Train a network on a set of images as described by a recipe (TOML).

Writes into the folder given by --output:
  model.pt               the best weights so far, for slsfgr register --model
  checkpoint.pt          the state of the training, for --resume
  curve.csv, curve.png   losses and validation scores
  samples.png            the network's output for two validation examples
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import ConsoleProgress

SHARED_OPTIONS = ("device", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr train``."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, on which data, how long")
    parser.add_argument(
        "--output", type=Path, default=Path("training-output"), metavar="DIR", help="default: training-output"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in DIR")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr train``."""
    from ..training.distributed import joined_processes, rank

    with joined_processes(arguments.device) as device:
        model = _train(arguments, device)
        if rank() == 0:
            print(model)


def _train(arguments: argparse.Namespace, device: str) -> Path:
    """Train, and return the file of the best model."""
    from ..errors import InputError
    from ..training import Trainer, read_recipe
    from ..training.distributed import ProcessLostError, process_count, rank
    from ..training.trainer import CHECKPOINT

    trainer = Trainer(read_recipe(arguments.recipe), arguments.output, device)
    if arguments.resume:
        trainer.resume()
    elif (arguments.output / CHECKPOINT).exists():
        raise InputError(f"{arguments.output}: contains a training run; add --resume or choose another --output.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        with ConsoleProgress(arguments.quiet or rank() > 0) as progress:
            return trainer.run(progress)
    except (KeyboardInterrupt, ProcessLostError) as end:
        advice = "nothing was written."
        if (arguments.output / CHECKPOINT).exists():
            advice = f"continue from the last checkpoint in {arguments.output} with --resume."
        if isinstance(end, ProcessLostError):
            raise InputError(f"{end}; {advice}") from end
        if process_count() > 1:
            # torchrun ends all processes when one has ended.
            advice = f"if nobody stopped it, another of its processes has ended; {advice}"
        raise KeyboardInterrupt(advice) from end
