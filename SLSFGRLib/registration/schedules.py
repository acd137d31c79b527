"""What each mode does, and what of it a machine's memory allows."""

from __future__ import annotations

from ..segmentation.tissue_maps import DISTINCT_WHITE, TISSUES
from ..spatial.grid import Grid
from .deformable import Level

_COARSE = (
    Level(spacing=8.0, iterations=30, field_blur=1.0, tissues=TISSUES),
    Level(spacing=4.0, iterations=30, field_blur=1.0, tissues=TISSUES),
)
SCHEDULES = {
    "fast": (
        Level(spacing=8.0, iterations=10, field_blur=1.0),
        Level(spacing=4.0, iterations=15),
        Level(spacing=2.0, iterations=6, field_blur=0.5),
    ),
    "standard": (
        *_COARSE,
        Level(spacing=2.0, iterations=15, tissues=TISSUES),
        Level(spacing=1.0, iterations=8, field_blur=0.5),
    ),
    "accurate": (
        *_COARSE,
        Level(spacing=2.0, iterations=25, field_blur=0.5, tissues=TISSUES),
        Level(spacing=1.0, iterations=12, field_blur=0.5, tissues=(DISTINCT_WHITE,)),
    ),
}

# Measured peaks of memory, rounded up so that no 1 mm pair of docs/benchmarks.md took more: of Python with its
# libraries, for each voxel of the prepared fixed image, and for each voxel of the finest field, also for every map of
# a tissue there.
BASE_BYTES = 400_000_000
IMAGE_BYTES = 192
FIELD_BYTES, TISSUE_BYTES = 200, 20


def needed_memory(levels: tuple[Level, ...], grid: Grid) -> int:
    """Bytes that a registration takes at its peak.

    :param grid: of the prepared fixed image.
    """
    finest = levels[-1]
    each = FIELD_BYTES + TISSUE_BYTES * len(finest.tissues)
    voxels = grid.shape[0] * grid.shape[1] * grid.shape[2]
    return BASE_BYTES + voxels * IMAGE_BYTES + voxels * each // finest.factor(grid) ** 3


def affordable_levels(mode: str, grid: Grid, memory: int | None) -> tuple[tuple[Level, ...], str]:
    """The levels of a mode without the finest ones that the memory does not suffice for.

    :param grid: of the prepared fixed image.
    :param memory: bytes; None for any number.
    :returns: the levels, and a sentence that tells what was left out; empty if nothing was.
    """
    levels = wanted = SCHEDULES[mode]
    while memory is not None and len(levels) > 1 and needed_memory(levels, grid) > memory:
        levels = levels[:-1]
    if levels == wanted:
        return levels, ""
    needed = needed_memory(wanted, grid) / 1e9
    own = float(grid.spacing.mean())
    spacings = (round(part[-1].factor(grid) * own, 1) for part in (levels, wanted))
    return levels, (
        "Worked at {:g} mm in place of {:g} mm: ".format(*spacings)
        + f"{memory / 1e9:.1f} GB of memory are free, and {needed:.1f} GB would be needed. "
        + "Close other programs for a more exact result."
    )
