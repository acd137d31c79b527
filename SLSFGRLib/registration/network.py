"""Find a displacement field with a network: in one pass, or by instance optimisation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import InputError
from ..models.model import Model
from ..networks import SLSFGRNetwork
from ..networks.sl_sfgr import Description
from ..segmentation.segmenter import DescribedBrain
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.fields import downsample, pad_to_multiple, resize_field
from ..spatial.warping import AffineWarper
from .field_optimisation import Level
from .instance_optimisation import InstanceOptimisation, optimise_network

# The steps of instance optimisation in each mode, relative to the model's own.
EFFORT = {"standard": 1.0, "accurate": 3.0}


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
    :param mode: ``fast`` is one pass; so are the others unless the model uses instance optimisation.
    :returns: (1, 3, d, h, w) in voxels of the network's grid.
    :raises InputError: see :func:`require_usable`.
    """
    require_usable(model, mode)
    optimises = mode != "fast" and model.uses_instance_optimisation
    described = [subject.segmentation and subject.segmentation.described for subject in (fixed, moving)]
    if all(described) and not optimises:
        return field_between(model.copy_of_network(fixed.prepared.tensor.device), *described, affine)
    factor = model.settings.factor_for(fixed.grid.mean_spacing)
    target = downsample(fixed.prepared.tensor, factor)
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    warper = AffineWarper(moving.prepared.tensor, matrix, fixed.grid.shape, factor)
    aligned = warper(torch.zeros(1, 3, *target.shape[2:], device=target.device))
    network = model.copy_of_network(target.device)
    depth, height, width = target.shape[2:]
    aligned, target = (pad_to_multiple(image, network.size_multiple) for image in (aligned, target))
    if not optimises:
        field = resize_field(network(aligned, target)[-1], target.shape[2:])
    else:
        steps = round(EFFORT[mode] * model.settings.pair_steps)
        settings = InstanceOptimisation(steps, model.settings.pair_learning_rate)
        field, _ = optimise_network(network, aligned, target, model.settings.objective(), settings, update)
    return field[:, :, :depth, :height, :width]


def field_between(
    network: SLSFGRNetwork, fixed: DescribedBrain, moving: DescribedBrain, affine: Affine
) -> torch.Tensor:
    """Return the field between two brains that the network has described, each in its own position.

    Features are brought to the fixed brain by the affine transform, as images would be.

    :returns: (1, 3, d, h, w) in voxels of the segmentation's grid.
    """

    def aligned(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        factor = fixed.grid.shape[0] // like.shape[2]
        matrix = affine.in_voxels(fixed.grid.coarsened(factor), moving.grid.coarsened(factor))
        return AffineWarper(part, matrix, like.shape[2:], 1)(like.new_zeros(1, 3, *like.shape[2:]))

    own, other = fixed.description, moving.description
    features = [aligned(*pair) for pair in zip(other.features, own.features, strict=True)]
    seen = None if own.appearance is None else aligned(other.appearance, own.appearance)
    field = network.match(Description(features, None, seen), own)[-1]
    return resize_field(field, fixed.grid.shape)[(..., *fixed.box)]


def levels_after(model: Model, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return the levels of direct optimisation that refine the network's field; at least the last.

    Coarser levels would lose what the network has found.
    """
    finer = tuple(level for level in levels if level.spacing < model.settings.refine_from_mm)
    return finer or levels[-1:]
