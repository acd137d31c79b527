"""The levels of each mode, and which of them fit an image and the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import SimpleITK as sitk

from ..segmentation.tissue_maps import SHARP_WHITE_MATTER, TISSUES
from ..spatial.grid import Grid
from .channels import GIVEN_INTENSITY, INTENSITY
from .costs import peak_bytes
from .field_optimisation import Level

TISSUE_WEIGHT = 0.5
WITH_TISSUES = {INTENSITY: 1.0} | dict.fromkeys(TISSUES, TISSUE_WEIGHT)
# At 8 and 4 mm the map of CSF adds nothing to these (docs/develop/experiments.md).
WITH_GREY_AND_WHITE_MATTER = {INTENSITY: 1.0} | dict.fromkeys(TISSUES[1:], TISSUE_WEIGHT)
WITH_SHARP_WHITE_MATTER = {INTENSITY: 1.0, SHARP_WHITE_MATTER: TISSUE_WEIGHT}
# Unless both images show T1, the tissue maps say more than the intensities, but they are not exact enough for a field
# with less smoothing at 1 mm. Chosen on real and rendered images (docs/develop/experiments.md).
ACROSS_CONTRASTS = {INTENSITY: 0.5} | dict.fromkeys(TISSUES, 0.75)
# At this spacing in mm and coarser it makes no difference how much the intensities count beside the tissue maps.
COARSE_SPACING = 4.0
FINEST_SIGMA_ACROSS_CONTRASTS = 0.75
# Three further channels make an iteration slower. At 1 mm this fraction of the iterations loses 0.0005 of Dice.
FRACTION_ACROSS_CONTRASTS = 0.625

_COARSE = (
    Level(spacing=8.0, iterations=30, field_sigma=1.0, weights=WITH_TISSUES),
    Level(spacing=4.0, iterations=30, field_sigma=1.0, weights=WITH_TISSUES),
)
SCHEDULES = {
    "fast": (
        Level(spacing=8.0, iterations=10, field_sigma=1.0, weights=WITH_GREY_AND_WHITE_MATTER),
        Level(spacing=4.0, iterations=15, weights=WITH_GREY_AND_WHITE_MATTER),
        Level(spacing=2.0, iterations=6, field_sigma=0.5),
    ),
    "standard": (
        *_COARSE,
        Level(spacing=2.0, iterations=15, weights=WITH_TISSUES),
        Level(spacing=1.0, iterations=8, field_sigma=0.5),
    ),
    "accurate": (
        *_COARSE,
        Level(spacing=2.0, iterations=25, field_sigma=0.5, weights=WITH_TISSUES),
        Level(spacing=1.0, iterations=12, field_sigma=0.5, weights=WITH_SHARP_WHITE_MATTER),
    ),
}
# For two scans of one head, whose true deformation is smoother than that of two people: forces are averaged over a wide
# Gaussian. Chosen on heads deformed by 4 to 8 mm (docs/develop/experiments.md).
BOTH_INTENSITIES = {INTENSITY: 1.0, GIVEN_INTENSITY: 1.0}
_COARSE_OF_ONE_HEAD = Level(spacing=4.0, iterations=30, field_sigma=1.5, step_sigma=5.0)
_FINE_OF_ONE_HEAD = Level(spacing=2.0, iterations=20, field_sigma=1.5, step_sigma=5.0, weights=BOTH_INTENSITIES)
_FINEST_OF_ONE_HEAD = Level(spacing=1.0, iterations=8, field_sigma=2.0, step_sigma=5.0, weights=BOTH_INTENSITIES)
ONE_HEAD_SCHEDULES = {
    # It ends at 2 mm, where a narrower Gaussian finds small changes, too.
    "fast": (_COARSE_OF_ONE_HEAD, replace(_FINE_OF_ONE_HEAD, step_sigma=3.0)),
    "standard": (_COARSE_OF_ONE_HEAD, _FINE_OF_ONE_HEAD, _FINEST_OF_ONE_HEAD),
    "accurate": (_COARSE_OF_ONE_HEAD, _FINE_OF_ONE_HEAD, replace(_FINEST_OF_ONE_HEAD, iterations=16)),
}
# An image whose smallest spacing in mm is at least this has no use for a field at 1 mm. Chosen: near 2 mm.
COARSE_IMAGE_SPACING = 1.75
COARSE_FIELD_SPACING = 2.0


def planned_levels(mode: str, fixed: sitk.Image, is_one_head: bool = False) -> tuple[Level, ...]:
    """Return the levels of a mode, none of them finer than a fixed image calls for.

    :param is_one_head: for :func:`~SLSFGRLib.registration.deform_one_head.deform_one_head`.
    """
    schedules = ONE_HEAD_SCHEDULES if is_one_head else SCHEDULES
    finest = COARSE_FIELD_SPACING if min(fixed.GetSpacing()) >= COARSE_IMAGE_SPACING else 0.0
    return tuple(replace(level, spacing=max(level.spacing, finest)) for level in schedules[mode])


def across_contrasts(levels: Sequence[Level], certainty: float = 0.0) -> tuple[Level, ...]:
    """Return levels of direct optimisation for two segmented brains that do not both show T1.

    :param levels: as planned for two T1 images.
    :param certainty: from 0 to 1, how far the intensities of one image tell those of the other: with 1 the fine levels
        stay as planned, with 0 the tissue maps count more than the intensities there.
    """
    return tuple(_across_contrasts(level, certainty) for level in levels)


def _across_contrasts(level: Level, certainty: float) -> Level:
    if level.spacing >= COARSE_SPACING:
        return replace(level, weights=WITH_TISSUES)
    if certainty == 1.0:
        return level
    mixed = {
        name: certainty * level.weights.get(name, 0.0) + (1.0 - certainty) * ACROSS_CONTRASTS.get(name, 0.0)
        for name in level.weights | ACROSS_CONTRASTS
    }
    weights = {name: weight for name, weight in mixed.items() if weight > 0.0}
    if level.spacing >= COARSE_FIELD_SPACING:
        return replace(level, weights=weights)
    sigma = certainty * level.field_sigma + (1.0 - certainty) * FINEST_SIGMA_ACROSS_CONTRASTS
    return replace(
        level, weights=weights, field_sigma=sigma, iterations=round(FRACTION_ACROSS_CONTRASTS * level.iterations)
    )


def needed_memory(levels: Sequence[Level], grid: Grid) -> int:
    """Return the bytes that a registration takes at its peak.

    :param grid: of the prepared fixed image.
    """
    finest = levels[-1]
    voxels = grid.shape[0] * grid.shape[1] * grid.shape[2]
    return peak_bytes(voxels, finest.factor(grid), len(finest.weights) - 1)


def affordable_levels(levels: tuple[Level, ...], grid: Grid, memory: int | None) -> tuple[tuple[Level, ...], str]:
    """Leave out the finest levels for which the memory does not suffice.

    :param grid: of the prepared fixed image.
    :param memory: free bytes; None if unknown.
    :returns: the levels, and a sentence for the report that says what was left out; empty if nothing was.
    """
    kept = levels
    while memory is not None and len(kept) > 1 and needed_memory(kept, grid) > memory:
        kept = kept[:-1]
    if kept == levels:
        return levels, ""
    needed = needed_memory(levels, grid) / 1e9
    return kept, (
        f"{coarser_sentence(kept, levels)} {memory / 1e9:.1f} GB of memory are free, and {needed:.1f} GB are needed. "
        "Close other programs for a more exact result."
    )


def coarser_sentence(kept: Sequence[Level], planned: Sequence[Level]) -> str:
    """Return a sentence that says at which spacing a registration worked instead of the planned one."""
    return f"The field has {kept[-1].spacing:g} mm voxels instead of {planned[-1].spacing:g} mm, to save memory."
