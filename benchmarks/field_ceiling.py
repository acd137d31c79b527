"""Show how accurate a coarse field can be: ``python -m benchmarks.field_ceiling``.

The field that `accurate` finds at 1 mm is averaged to coarser grids. The Dice of the manual labels by these fields is
about the best that a network can reach whose field ends at such a grid.
"""

from __future__ import annotations

import argparse

import SLSFGRLib
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.registration.schedules import planned_levels
from SLSFGRLib.registration.template import bundled_template
from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.fields import downsample

from .data import TEN_PAIRS, Pair, pair_of_brains

# Factors by which the field of 1 mm is averaged.
FACTORS = (1, 2, 4, 8)


def main() -> None:
    """Print a table with a line for each pair, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=len(TEN_PAIRS), help="only the first so many")
    names = TEN_PAIRS[: parser.parse_args().pairs]
    print(f"| pair | {' | '.join(f'{factor} mm' for factor in FACTORS)} |\n{'|---' * (len(FACTORS) + 1)}|")
    rows = []
    for name in names:
        rows.append(dice_of_coarser_fields(pair_of_brains(name)))
        print(line(name, rows[-1]), flush=True)
    print(line("mean", [sum(column) / len(rows) for column in zip(*rows, strict=True)]))


def line(name: str, values: list[float]) -> str:
    """Return a line of the table."""
    return f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} |"


def dice_of_coarser_fields(pair: Pair) -> list[float]:
    """Return the mean Dice of a pair's manual labels by the field at 1 mm, averaged by each of :data:`FACTORS`."""
    image = read_image(pair.fixed)
    fixed, moving = SLSFGRLib.load_subject(image), SLSFGRLib.load_subject(read_image(pair.moving))
    affine = SLSFGRLib.align(fixed, moving)
    levels = planned_levels("accurate", image)
    field = SLSFGRLib.deform(fixed, moving, affine, levels, template=bundled_template())
    labels = [read_labels(path) for path in (pair.fixed_labels, pair.moving_labels)]
    found = []
    for factor in FACTORS:
        coarse, grid = downsample(field, factor) / factor, fixed.grid.coarsened(factor)
        found.append(SLSFGRLib.evaluate(*labels, affine_then_field(affine, coarse, grid)).mean_dice)
    return found


if __name__ == "__main__":
    main()
