"""What each idea of SL-SFGR is worth: ``python Testing/benchmarks/ablation.py OUTPUT``.

Every variant learns for the same number of steps, from the same maps and images, and is judged on the same held-out
pairs; each is trained once for every seed. At 4 mm, so that the whole table takes a night on two cores. What is done
already is not done again: the command may be stopped and given again.
"""

from __future__ import annotations

import argparse
import csv
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from SLSFGRLib.runtime.process import set_up_process

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
BASE = ROOT / "Resources" / "Recipes" / "sl_sfgr_4_joint.toml"
SPACING_MM = 4
SHAPE = (40, 48, 40)
FIGURES = ("registration_dice", "segmentation_dice", "folding_percent")


@dataclass(frozen=True)
class Variant:
    """What differs from the base recipe.

    :param options: of the network.
    :param dynamic_weights: weigh the losses by dynamic weight averaging.
    :param label_fraction: the share of the maps whose labels may be seen.
    """

    options: dict = field(default_factory=dict)
    dynamic_weights: bool = True
    label_fraction: float = 0.5


NOTHING = {"segmentation": False, "guidance": False, "frequency": False}
VARIANTS = {
    "no segmentation": Variant(NOTHING, dynamic_weights=False),
    "+ segmentation loss": Variant(NOTHING | {"segmentation": True}, dynamic_weights=False),
    "+ feature guidance": Variant({"frequency": False}, dynamic_weights=False),
    "+ frequency block": Variant(dynamic_weights=False),
    "+ dynamic weights": Variant(),
    "label fraction 0 %": Variant(label_fraction=0.0),
    "label fraction 10 %": Variant(label_fraction=0.1),
    "label fraction 100 %": Variant(label_fraction=1.0),
}


def main() -> None:
    """Train all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder for the trainings and table.csv")
    parser.add_argument("--steps", type=int, default=1500, help="of each training (default: 1500)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant (default: 3)")
    arguments = parser.parse_args()
    os.environ.setdefault("SLSFGR_DATA", str(DATA))
    set_up_process()
    rows = []
    for seed in range(arguments.seeds):
        for name in VARIANTS:
            folder = arguments.output / f"{name.replace(' ', '_').strip('_+%')}_{seed}"
            rows.append({"variant": name, "seed": seed} | trained(VARIANTS[name], arguments.steps, seed, folder))
            print(rows[-1], flush=True)
    with (arguments.output / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["variant", "seed", *FIGURES])
        writer.writeheader()
        writer.writerows(rows)
    print(table(rows))


def trained(variant: Variant, steps: int, seed: int, folder: Path) -> dict[str, float]:
    """The validation figures of a variant after its last step; a stopped training goes on."""
    from SLSFGRLib.training.trainer import CHECKPOINT, Trainer

    folder.mkdir(parents=True, exist_ok=True)
    # To bring the maps into their compact form takes a minute, and is the same for all.
    maps, shared = folder / "label_maps", folder.parent / "label_maps"
    shared.mkdir(exist_ok=True)
    if not maps.exists():
        maps.symlink_to(shared.resolve(), target_is_directory=True)
    trainer = Trainer(recipe(variant, steps, seed), folder)
    if (folder / CHECKPOINT).is_file():
        trainer.resume()
    if trainer.step < steps:
        trainer.run()
    last = trainer.rows[-1]
    return {name: last[name] for name in FIGURES if name in last}


def recipe(variant: Variant, steps: int, seed: int):
    """The base recipe with what the variant changes."""
    from SLSFGRLib.synthesis import Synthesis
    from SLSFGRLib.training.recipe import read_recipe

    base = read_recipe(BASE)
    model = replace(base.model, factor=SPACING_MM, network_options=base.model.network_options | variant.options)
    supervision = replace(
        base.supervision,
        shape=SHAPE,
        label_fraction=variant.label_fraction,
        segmentation_steps=0,
        real_pairs=0.0,
        overlap=1.0,
    )
    # Where labels are missing only images of one contrast can be compared, so all variants have no others.
    drawn = Synthesis(same_contrast_chance=1.0)
    schedule = replace(
        base.training,
        start="",
        dynamic_weights=variant.dynamic_weights,
        steps=steps,
        seed=seed,
        learning_rate=2e-3,
        validate_every=max(1, steps // 10),
    )
    return replace(base, model=model, supervision=supervision, synthesis=drawn, training=schedule)


def table(rows: list[dict]) -> str:
    """Means and standard deviations over the seeds, in Markdown."""
    lines = ["| variant | registration Dice | segmentation Dice | folding % |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = [
            _spread([row[figure] for row in rows if row["variant"] == name and figure in row]) for figure in FIGURES
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    deviation = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
