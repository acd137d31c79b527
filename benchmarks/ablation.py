"""Measure what each part of the network SL-SFGR contributes: ``python -m benchmarks.ablation --output DIR``.

Every variant is trained for the same number of steps on the same maps and images, once for every seed, and scored on
the same held-out pairs. At 4 mm, so that the whole table takes a night on two cores. A stopped training is continued.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .data import DATA, ROOT
from .experiment import arguments, run

if TYPE_CHECKING:
    from SLSFGRLib.training.recipe import Recipe

BASE = ROOT / "Resources" / "Recipes" / "sl_sfgr_4_joint.toml"
SPACING_MM = 4
SHAPE = (40, 48, 40)
# Column of curve.csv: name of the figure.
FIGURES = {
    "registration_dice": "dice",
    "segmentation_dice": "dice_segmentation",
    "folding_percent": "folding_percent",
}


NO_SEGMENTATION = {"segmentation": False, "guidance": False, "frequency": False}
# What differs from the base recipe: options of the network, whether dynamic weight averaging weights the losses, the
# fraction of the maps whose labels may be used.
VARIANTS = {
    "no segmentation": (NO_SEGMENTATION, False, 0.5),
    "+ segmentation loss": (NO_SEGMENTATION | {"segmentation": True}, False, 0.5),
    "+ feature guidance": ({"frequency": False}, False, 0.5),
    "+ frequency block": ({}, False, 0.5),
    "+ dynamic weights": ({}, True, 0.5),
    "label fraction 0 %": ({}, True, 0.0),
    "label fraction 10 %": ({}, True, 0.1),
    "label fraction 100 %": ({}, True, 1.0),
}


@dataclass(frozen=True)
class Training:
    """What all variants have in common.

    :param folder: holds a folder for each training, and the label maps in compact form, which all share.
    """

    seed: int
    steps: int
    folder: Path


@dataclass(frozen=True)
class Variant:
    """One of the :data:`VARIANTS`."""

    name: str
    environment = {"PYTHONPATH": str(ROOT), "SLSFGR_DATA": str(DATA)}  # noqa: RUF012

    def command(self, training: Training, _output: Path) -> list[str]:
        """Return the command line of one training."""
        code = "import sys; from benchmarks.ablation import train; train(*sys.argv[1:])"
        words = self.name, str(training.seed), str(training.steps), str(self.folder(training))
        return [sys.executable, "-P", "-c", code, *words]

    def folder(self, training: Training) -> Path:
        """Return the folder of one training."""
        return training.folder / f"{self.name.replace(' ', '_').strip('_+%')}_{training.seed}"


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, ",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=1500, help="of each training (default: 1500)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant (default: 3)")
    given = parser.parse_args()
    trainings = {str(seed): Training(seed, given.steps, given.output) for seed in range(given.seeds)}
    run(given, trainings, "benchmarks.ablation:figures", Variant)


def train(name: str, seed: str, steps: str, folder: str) -> None:
    """Train a variant to its last step, from its checkpoint if there is one."""
    from SLSFGRLib.runtime.process import set_up_process

    set_up_process()
    from SLSFGRLib.training.trainer import CHECKPOINT, Trainer

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    # To bring the maps into their compact form takes a minute, and is the same for all.
    maps, shared = place / "label_maps", place.parent / "label_maps"
    shared.mkdir(exist_ok=True)
    if not maps.exists():
        maps.symlink_to(shared.resolve(), target_is_directory=True)
    trainer = Trainer(recipe(name, int(steps), int(seed)), place)
    if (place / CHECKPOINT).is_file():
        trainer.resume()
    if trainer.step < trainer.recipe.training.steps:
        trainer.run()


def figures(training: Training, variant: Variant, _output: Path) -> dict[str, float]:
    """Return the validation figures after the last step of a training."""
    with (variant.folder(training) / "curve.csv").open(newline="", encoding="utf-8") as stream:
        last = list(csv.DictReader(stream))[-1]
    return {figure: float(last[column]) for column, figure in FIGURES.items() if last.get(column)}


def recipe(variant: str, steps: int, seed: int) -> Recipe:
    """Return the base recipe with what the variant changes."""
    from SLSFGRLib.synthesis import Synthesis
    from SLSFGRLib.training.recipe import read_recipe

    base = read_recipe(BASE)
    options, dynamic_weights, label_fraction = VARIANTS[variant]
    model = replace(base.model, factor=SPACING_MM, network_options=base.model.network_options | options)
    supervision = replace(
        base.supervision,
        shape=SHAPE,
        label_fraction=label_fraction,
        segmentation_steps=0,
        real_pairs=0.0,
        overlap=1.0,
    )
    # Where labels are missing only images of one contrast can be compared, so all variants have no others.
    synthesis = Synthesis(same_contrast_chance=1.0)
    schedule = replace(
        base.training,
        start="",
        dynamic_weights=dynamic_weights,
        steps=steps,
        seed=seed,
        learning_rate=2e-3,
        validate_every=max(1, steps // 10),
    )
    return replace(base, model=model, supervision=supervision, synthesis=synthesis, training=schedule)


if __name__ == "__main__":
    main()
