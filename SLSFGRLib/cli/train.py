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

SHARED_OPTIONS = ("device",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr train``."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, on which data, how long")
    parser.add_argument(
        "--output", type=Path, default=Path("training-output"), metavar="DIR", help="default: training-output"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in DIR")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr train``."""
    from ..errors import InputError
    from ..training import Trainer, read_recipe
    from ..training.trainer import CHECKPOINT

    trainer = Trainer(read_recipe(arguments.recipe), arguments.output, arguments.device)
    if arguments.resume:
        trainer.resume()
    elif (arguments.output / CHECKPOINT).exists():
        raise InputError(f"{arguments.output}: contains a training run; add --resume or choose another --output.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        with ConsoleProgress(arguments.quiet) as progress:
            model = trainer.run(progress)
    except KeyboardInterrupt as request:
        if (arguments.output / CHECKPOINT).exists():
            message = f"continue from the last checkpoint in {arguments.output} with --resume."
            raise KeyboardInterrupt(message) from request
        raise
    print(model)
