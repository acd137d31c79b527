"""Train a system on a set of images, as a recipe (TOML) describes it.

Writes into the folder given by --output:
  model.pt        the best weights so far, for slsfgr register --model
  checkpoint.pt   to go on with --resume
  curve.csv       losses and validation figures;  curve.png shows them
  samples.png     what the network makes of two examples that it does not learn from
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import ConsoleProgress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr train``."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, on what, how long")
    parser.add_argument(
        "--output", type=Path, default=Path("training-output"), metavar="DIR", help="default: training-output"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr train``."""
    from ..errors import InputError
    from ..training import Trainer, read_recipe
    from ..training.trainer import CHECKPOINT

    trainer = Trainer(read_recipe(arguments.recipe), arguments.output, arguments.device)
    if arguments.resume:
        trainer.resume()
    elif (arguments.output / CHECKPOINT).exists():
        raise InputError(f"{arguments.output}: holds a training run; add --resume or choose another --output.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        model = trainer.run(ConsoleProgress(arguments.quiet))
    except KeyboardInterrupt as wish:
        if (arguments.output / CHECKPOINT).exists():
            raise KeyboardInterrupt(f"go on from the last checkpoint in {arguments.output} with --resume.") from wish
        raise
    print(model)
