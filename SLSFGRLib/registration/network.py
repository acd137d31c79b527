"""Find a displacement field with a network: in one pass, or by instance optimisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from ..errors import InputError
from ..models.model import Model, ModelSettings
from ..networks import SLSFGRNetwork
from ..networks.explicit_refinement import sums_by_tissue
from ..networks.sl_sfgr import Description
from ..preprocessing import FINEST_SPACING
from ..segmentation.segmenter import DOWNSAMPLING_FACTOR
from ..segmentation.subject import Subject
from ..segmentation.tissue_maps import TISSUES
from ..spatial.affine import Affine
from ..spatial.fields import downsample, resize_field, smooth
from ..spatial.grid import Grid
from ..spatial.warping import AffineWarper, affinely_warped
from .deform import show_t1
from .field_optimisation import Level
from .instance_optimisation import InstanceOptimisation, optimise_network
from .network_pyramid import NetworkLevel, rounds_of

# Along each axis of the coarsest images of a network. Chosen: its features at a quarter of this have two.
FEWEST_VOXELS = 8
# The steps of instance optimisation in each mode, relative to the model's own.
EFFORT = {"standard": 1.0, "accurate": 3.0}
# Standard deviation of the smoothing of a network's field at half of its resolution that is refined, in voxels: what is
# bent sharply there folds later (docs/develop/experiments.md).
START_SIGMA = 1.5


def require_usable(model: Model, mode: str) -> None:
    """Refuse a model that a mode cannot use.

    :raises InputError: the model is untrained, and fast mode does not train.
    """
    if mode == "fast" and not model.is_trained:
        raise InputError(f"model {model.name!r}: is untrained, and fast mode does not train; use standard.")


@torch.no_grad()
def network_field(
    model: Model,
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    mode: str,
    update: Callable[[float], None] = lambda fraction: None,
) -> torch.Tensor:
    """Return the network's field that, followed by the affine transform, brings the moving image to the fixed one.

    :param affine: fixed points to moving points.
    :param mode: ``fast`` applies the network as it is; so do the others unless the model uses instance optimisation.
    :returns: (1, 3, d, h, w) in voxels of the network's finest grid.
    :raises InputError: see :func:`require_usable`.
    """
    require_usable(model, mode)
    settings = model.settings
    optimises = mode != "fast" and model.uses_instance_optimisation
    are_described = all(subject.segmentation and subject.segmentation.described for subject in (fixed, moving))
    if are_described and not optimises:
        # What follows refines the field at the network's own spacing anyway.
        is_last = mode == "fast" or settings.refine_from_mm <= settings.factor * FINEST_SPACING
        return field_between(model.copy_of_network(fixed.prepared.tensor.device), fixed, moving, affine, is_last)
    network = model.copy_of_network(fixed.prepared.tensor.device)
    factors, learning = _factors(settings, fixed.grid, optimises)
    steps = round(EFFORT[mode] * settings.pair_steps) if optimises else 0
    pace = InstanceOptimisation(steps, settings.pair_learning_rate)
    displacement = None
    for number, factor in enumerate(factors):
        level = _level(fixed, moving, affine, factor, network.size_multiple)
        displacement = level.start(displacement)
        for turn in range(settings.rounds):
            done = partial(_part_done, update, number * settings.rounds + turn, len(factors) * settings.rounds)
            done(0.0)
            if factor in learning:
                images = level.moving(displacement), level.fixed
                field, _ = optimise_network(network, *images, settings.objective(), pace, done)
                displacement = level.improved(displacement, field)
            else:
                displacement = rounds_of(network, level, displacement, 1)
    return displacement


def _factors(settings: ModelSettings, grid: Grid, optimises: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the downsampling factors at which a network is applied, and those of them at which it learns.

    :param grid: of the prepared fixed image.
    :param optimises: whether instance optimisation follows; then it is applied at finer resolutions than its own, too.
    """
    own = _large_enough(settings.factors_for(grid.mean_spacing, settings.factor), grid.shape)
    return (_large_enough(settings.factors_for(grid.mean_spacing), grid.shape), own) if optimises else (own, ())


def _level(fixed: Subject, moving: Subject, affine: Affine, factor: int, multiple: int) -> NetworkLevel:
    """Return one resolution of two brains, given as a downsampling factor, for :class:`.NetworkLevel`."""
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.prepared.tensor, matrix, fixed.grid.shape, factor)
    return NetworkLevel(downsample(fixed.prepared.tensor, factor), warper, multiple)


def _large_enough(factors: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the factors that leave too few voxels along an axis, but not the last."""
    return tuple(factor for factor in factors[:-1] if min(shape) // factor >= FEWEST_VOXELS) + factors[-1:]


def _part_done(update: Callable[[float], None], number: int, count: int, fraction: float) -> None:
    """Report the fraction done of all parts, given that of one of them."""
    update((number + fraction) / count)


def field_between(
    network: SLSFGRNetwork,
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    to_full_resolution: bool = True,
) -> torch.Tensor:
    """Return the field between two brains that the network has described, each in its own position.

    Features are brought to the fixed brain by the affine transform, as images would be. So is what explicit steps
    compare: the tissue probability maps, whose borders follow the intensities, where the network's are smooth.

    :param to_full_resolution: take the network's explicit steps at its full resolution, too; if not, the field, half as
        fine, is smoothed.
    :returns: (1, 3, d, h, w) in voxels of the segmentation's grid.
    """
    own, other = (subject.segmentation.described for subject in (fixed, moving))

    def aligned(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        factor = own.grid.shape[0] // like.shape[2]
        matrix = affine.in_voxels(own.grid.coarsened(factor), other.grid.coarsened(factor))
        return affinely_warped(part, matrix, like.shape[2:])

    pairs = zip(other.description.features, own.description.features, strict=True)
    features, seen, own_seen = [aligned(*pair) for pair in pairs], None, None
    if len(network.explicit):
        is_t1 = show_t1(fixed, moving)
        own_seen, other_seen = (_appearance(subject, is_t1) for subject in (fixed, moving))
        seen = aligned(other_seen, own_seen)
    descriptions = Description(features, None, seen), replace(own.description, appearance=own_seen)
    field = network.match(*descriptions, to_full_resolution)[-1]
    if not to_full_resolution:
        field = smooth(field, START_SIGMA)
    return resize_field(field, own.grid.shape)[(..., *own.box)]


def _appearance(subject: Subject, is_t1: bool) -> torch.Tensor:
    """Return the image and the tissue probability maps of a described brain, for explicit steps to compare.

    Those of T1 images come from averages of 2 x 2 x 2 voxels, in a third of the time; other contrasts show less.
    """
    maps = subject.averaged.tissues if is_t1 else downsample(subject.tissues, DOWNSAMPLING_FACTOR)
    segmentation = subject.segmentation
    return segmentation.described.appearance(maps[:, : len(TISSUES)], sums_by_tissue(segmentation.posteriors))


def levels_after(model: Model, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return the levels of direct optimisation that refine the network's field; at least the last.

    Coarser levels would lose what the network has found.
    """
    finer = tuple(level for level in levels if level.spacing < model.settings.refine_from_mm)
    return finer or levels[-1:]
