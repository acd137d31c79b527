"""Find the displacement field of one pair, by a network, direct optimisation or both, within the given memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from ..runtime.memory import available_memory, is_out_of_memory
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import border_ramp
from ..spatial.grid import Grid
from .asymmetry import asymmetry_notes
from .deform import deform, show_t1, uses_tissues
from .deform_one_head import deform_one_head
from .field_optimisation import Level
from .network import levels_after, network_field
from .schedules import across_contrasts, affordable_levels, coarser_sentence, planned_levels
from .settings import Settings
from .template import bundled_template

# The modes that take the time for the field via the template; that of `fast` is too detailed to gain by it.
GUIDED_MODES = ("standard", "accurate")
# Over so much a network's field fades to zero at its edges: beyond them the transform is affine. Fields have up to 11
# mm there; with 10 mm some still fold (docs/develop/experiments.md).
EDGE_MM = 12.0


def field_between_people(
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    settings: Settings,
    notes: list[str],
    update: Callable[[float], None],
) -> tuple[torch.Tensor, bool]:
    """Find the field with the network, with direct optimisation or with both; return whether a template guided it."""
    notes += asymmetry_notes(fixed, moving)
    model, start = settings.model, None
    if model is not None:
        start = _faded(network_field(model, fixed, moving, affine, settings.mode, update), fixed.grid)
        if settings.mode == "fast" or model.uses_instance_optimisation:
            return start, False
    planned = planned_levels(settings.mode, fixed.image)
    # Where images do not show T1, more channels are compared, which takes more memory.
    compared = planned if show_t1(fixed, moving) else across_contrasts(planned)
    compared = _affordable(compared, fixed, notes)
    levels = planned[: len(compared)]
    if model is not None:
        levels, compared = levels_after(model, levels), levels_after(model, compared)
    is_guided = settings.mode in GUIDED_MODES and uses_tissues(fixed, moving, compared)
    template = bundled_template() if is_guided else None
    find = partial(deform, fixed, moving, affine, start=start, template=template, update=update)
    return _within_memory(find, levels, fixed, notes), template is not None


def field_within_one_head(
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    settings: Settings,
    notes: list[str],
    update: Callable[[float], None],
) -> tuple[torch.Tensor, bool]:
    """Find the field between two scans of one head; return False: no template guides it."""
    levels = _affordable(planned_levels(settings.mode, fixed.image, is_one_head=True), fixed, notes)
    find = partial(deform_one_head, fixed, moving, affine, update=update)
    return _within_memory(find, levels, fixed, notes), False


def _faded(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return a field that fades to zero at its edges.

    :param grid: of the prepared fixed image; the field, which may be coarser, lies over the same box.
    """
    spacing = grid.mean_spacing * grid.shape[0] / field.shape[2]
    return field * border_ramp(field.shape[2:], EDGE_MM / spacing).to(field.device)


def _affordable(levels: tuple[Level, ...], fixed: Subject, notes: list[str]) -> tuple[Level, ...]:
    """Leave out the finest levels for which the memory does not suffice, and note so."""
    memory = available_memory() if fixed.prepared.tensor.device.type == "cpu" else None
    levels, note = affordable_levels(levels, fixed.grid, memory)
    notes += filter(None, [note])
    return levels


def _within_memory(
    find: Callable[..., torch.Tensor], levels: tuple[Level, ...], fixed: Subject, notes: list[str]
) -> torch.Tensor:
    """Find a field, without the finest level if the computer's memory runs out in it.

    :param find: called with ``levels``.
    """
    kept = levels
    while True:
        try:
            field = find(levels=kept)
        except Exception as error:
            on_cpu = fixed.prepared.tensor.device.type == "cpu"
            # The last two levels of a coarse image have the same spacing.
            coarser = tuple(level for level in kept if level.spacing > kept[-1].spacing)
            if not (on_cpu and coarser and is_out_of_memory(error)):
                raise
            kept = coarser
        else:
            break
    if kept != levels:
        notes.append(coarser_sentence(kept, levels))
    return field
