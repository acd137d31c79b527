"""Measure what a step of a training takes: ``python -m benchmarks.training_step RECIPE.toml``.

The steps are those of the recipe from a given one on; nothing is written. Explicit steps at the full resolution take
part in some of them only, so give as many as the share asks for.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch

from SLSFGRLib.errors import Cancelled
from SLSFGRLib.training import Trainer, read_recipe


def main() -> None:
    """Print the seconds of each step and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.add_argument("--first", type=int, default=0, help="step (default: 0)")
    parser.add_argument("--steps", type=int, default=10, help="that are timed, after one that is not (default: 10)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: 2)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = read_recipe(given.recipe)
    last = given.first + 1 + given.steps
    # So that it neither ends nor validates before.
    recipe = replace(recipe, training=replace(recipe.training, steps=last + 1, validate_every=last + 1))
    times = []

    def note(fraction: float, _message: str) -> None:
        if fraction > 0:
            times.append(perf_counter())
        if len(times) == 1 + given.steps:
            raise Cancelled

    with tempfile.TemporaryDirectory() as folder, suppress(Cancelled):
        trainer = Trainer(recipe, Path(folder), "cpu")
        trainer.step = given.first
        trainer.run(note)
    seconds = [after - before for before, after in pairwise(times)]
    print(f"seconds: {min(seconds):.2f} to {max(seconds):.2f}, on average {mean(seconds):.2f}")


if __name__ == "__main__":
    main()
