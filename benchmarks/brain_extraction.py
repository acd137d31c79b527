"""Find the brain in drawn heads and in real ones: ``python -m benchmarks.brain_extraction --output DIR``.

Drawn heads are those of the four label maps that no training has used, drawn as in training, whole or cut, with or
without the skull, in any contrast and pose. ``DIR/drawn.csv`` has a line for each. With ``--masks FOLDER`` of another
program's masks of real heads, named as in ``heads/`` and ``patients/``, ``DIR/real.csv`` compares with them;
``peers/deepbet_masks.py`` makes some.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

import SLSFGRLib
from SLSFGRLib.models.loading import brain_network
from SLSFGRLib.preprocessing import BrainMask, PreparedImage
from SLSFGRLib.segmentation.brain_extraction import SPACING, find_brain
from SLSFGRLib.spatial.grid import Grid, grid_of_image
from SLSFGRLib.synthesis import LabelMap, Synthesiser, align_label_maps, load_label_maps
from SLSFGRLib.synthesis.rng import whole_number
from SLSFGRLib.training import read_recipe

from .data import DATA, ROOT

HELD_OUT = ("17", "18", "19", "20")
# Of the seeds of drawn heads: none is that of a training.
SEED = 77_000_000
SIZES = (96, 128)
FAR_MM = 4.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200, help="drawn heads (default: 200)")
    parser.add_argument("--masks", type=Path, help="masks of real heads by another program")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    files = [DATA / "brain_labels" / f"training_seg_{number}.nii.gz" for number in HELD_OUT]
    maps = align_label_maps(load_label_maps(files, given.output / "label_maps"))
    _write(given.output / "drawn.csv", drawn_heads(maps, given.count))
    if given.masks:
        _write(given.output / "real.csv", (against_mask(path) for path in sorted(given.masks.glob("*.nii.gz"))))


def drawn_heads(maps: list[LabelMap], count: int) -> Iterator[dict[str, float]]:
    """Yield the fraction of each drawn head's brain that is missed, and of what is found that lies far outside."""
    # The recipe reads the environment variable that DATA comes from, but only for its files.
    settings = read_recipe(ROOT / "Resources" / "Recipes" / "brain_extraction.toml").synthesis
    network = brain_network(torch.device("cpu"))
    for number in range(count):
        generator = torch.Generator().manual_seed(SEED + number)
        shape = [SIZES[whole_number(generator, len(SIZES))] for _ in range(3)]
        synthesiser = Synthesiser(replace(settings, absent_chance=0.0), shape, SPACING)
        sample = synthesiser.sample(maps, generator)
        brain = (sample.labels > 0).float().mean(0).numpy() > 0.5
        grid = Grid.upright(shape, SPACING)
        found = find_brain(PreparedImage(sample.image, grid), network)
        inside = np.zeros(grid.shape, dtype=bool) if found is None else found.inside
        yield {"head": number, "millilitres": brain.sum() * SPACING**3 / 1000.0} | _compared(inside, brain, grid)


def against_mask(path: Path) -> dict[str, float | str]:
    """Compare the brain in our segmentation of a real head with a mask."""
    source = next(DATA.glob(f"*/{path.name}"))
    labels = SLSFGRLib.segment(sitk.ReadImage(str(source)))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
    tissue = sitk.GetArrayFromImage(labels) > 0
    distance = sitk.GetArrayFromImage(BrainMask(mask, grid_of_image(labels)).distance)
    ours = sitk.GetArrayFromImage(SLSFGRLib.brain_mask(labels)) > 0
    return {
        "head": path.name.removesuffix(".nii.gz"),
        "dice": 2.0 * (ours & mask).sum() / (ours.sum() + mask.sum()),
        "labels_far_outside_percent": 100.0 * (tissue & (distance > FAR_MM)).sum() / tissue.sum(),
    }


def _compared(found: np.ndarray, brain: np.ndarray, grid: Grid) -> dict[str, float]:
    distance = sitk.GetArrayFromImage(BrainMask(brain, grid).distance)
    return {
        "dice": 2.0 * (found & brain).sum() / max(1, found.sum() + brain.sum()),
        "missed_percent": 100.0 * (brain & ~found).sum() / max(1, brain.sum()),
        "far_outside_percent": 100.0 * (found & (distance > FAR_MM)).sum() / max(1, found.sum()),
    }


def _write(path: Path, rows: Iterator[dict]) -> None:
    """Write rows to a table as they come, and print the mean and the worst of each figure."""
    written: list[dict] = []
    with path.open("w", newline="", encoding="utf-8") as stream:
        for row in rows:
            if not written:
                writer = csv.DictWriter(stream, row)
                writer.writeheader()
            writer.writerow(row)
            stream.flush()
            written.append(row)
    print(path)
    for name in [name for name in written[0] if name not in ("head", "millilitres")]:
        values = np.array([row[name] for row in written])
        middle = f"mean {values.mean():.4f}, median {np.median(values):.4f}"
        print(f"  {name}: {middle}, {values.min():.4f} to {values.max():.4f}")


if __name__ == "__main__":
    main()
