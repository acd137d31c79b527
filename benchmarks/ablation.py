"""Measure what each part of the network SL-SFGR contributes: ``python -m benchmarks.ablation --output DIR``.

Every variant is trained for the same number of steps on the same maps and images, once for every seed, and scored on
the same held-out pairs, at 4 mm. A training that was stopped is continued from its last checkpoint; its seconds are
those since then.
"""

from __future__ import annotations

import csv
import re
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


NO_FREQUENCY = {"frequency": False}
NO_SEGMENTATION = NO_FREQUENCY | {"segmentation": False, "guidance": False}
# What differs from the base recipe: options of the network, whether dynamic weight averaging weights the losses, the
# fraction of the maps whose labels may be used.
VARIANTS = {
    "no segmentation": (NO_SEGMENTATION, False, 0.5),
    "+ segmentation loss": (NO_SEGMENTATION | {"segmentation": True}, False, 0.5),
    "+ feature guidance": (NO_FREQUENCY, False, 0.5),
    "+ frequency block": ({}, False, 0.5),
    "+ dynamic weights": ({}, True, 0.5),
    "label fraction 0 %": ({}, True, 0.0),
    "label fraction 10 %": ({}, True, 0.1),
    "label fraction 100 %": ({}, True, 1.0),
    # Other forms of the frequency block, each to be compared with it.
    "pair gains instead": (NO_FREQUENCY | {"pair_gains": True}, False, 0.5),
    "band limit instead": (NO_FREQUENCY | {"band_limit": True}, False, 0.5),
}


@dataclass(frozen=True)
class Training:
    """What all variants have in common.

    :param results: folder of the experiment.
    """

    seed: int
    steps: int
    results: Path

    @property
    def maps(self) -> Path:
        """Folder of the label maps in compact form, which take a minute to make."""
        return self.results / "label_maps"

    def folder(self, variant: str) -> Path:
        """Return the folder of one training, in which a stopped one is continued."""
        name = f"{variant} {self.steps} steps seed {self.seed}"
        return self.results / "trainings" / re.sub(r"\W+", "-", name).strip("-")


@dataclass(frozen=True)
class Variant:
    """One of the :data:`VARIANTS`."""

    name: str
    environment = {"PYTHONPATH": str(ROOT), "SLSFGR_DATA": str(DATA)}  # noqa: RUF012

    def command(self, training: Training, _output: Path) -> list[str]:
        """Return the command line of one training."""
        words = map(str, (self.name, training.steps, training.seed, training.results))
        code = "import sys; from benchmarks.ablation import train; train(*sys.argv[1:])"
        return [sys.executable, "-P", "-c", code, *words]


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, ",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=1500, help="of each training (default: 1500)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant (default: 3)")
    given = parser.parse_args()
    results = given.output.resolve()
    trainings = {str(seed): Training(seed, given.steps, results) for seed in range(given.seeds)}
    run(given, trainings, "benchmarks.ablation:figures", Variant)


def train(name: str, steps: str, seed: str, results: str) -> None:
    """Train a variant to its last step, from the last checkpoint if there is one."""
    from SLSFGRLib.runtime.process import set_up_process

    set_up_process()
    from SLSFGRLib.training.trainer import CHECKPOINT, Trainer

    training = Training(int(seed), int(steps), Path(results))
    folder = training.folder(name)
    training.maps.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "label_maps").symlink_to(training.maps, target_is_directory=True)
    trainer = Trainer(recipe(name, training.steps, training.seed), folder)
    if (folder / CHECKPOINT).exists():
        trainer.resume()
    trainer.run()


def figures(training: Training, variant: Variant, _output: Path) -> dict[str, float]:
    """Return the validation figures after the last step of a training."""
    with (training.folder(variant.name) / "curve.csv").open(newline="", encoding="utf-8") as stream:
        last = list(csv.DictReader(stream))[-1]
    return {figure: float(last[column]) for column, figure in FIGURES.items() if last.get(column)}


def recipe(variant: str, steps: int, seed: int) -> Recipe:
    """Return the base recipe with what the variant changes."""
    from SLSFGRLib.synthesis import Synthesis
    from SLSFGRLib.training.recipe import read_recipe

    base = read_recipe(BASE)
    options, dynamic_weights, label_fraction = VARIANTS[variant]
    # Explicit steps would find most of what the variants differ in.
    options = {**base.model.network_options, "explicit_steps": [0, 0], **options}
    model = replace(base.model, factor=SPACING_MM, network_options=options)
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
