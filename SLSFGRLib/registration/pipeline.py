"""Register one pair: from two images to a warped image, a transform, its inverse and a report.

Three phases: prepare (crop, scale, resample), align (affine, then deformable), publish (back to the
images' own space, as SimpleITK objects).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..evaluation.metrics import initial_overlap_note
from ..io.resources import can_segment
from ..losses.lncc import local_correlation
from ..models.loading import default_model
from ..models.model import Model
from ..modes import MODES
from ..preprocessing import PreparedImage, prepare, working_spacing
from ..runtime.devices import choose_device, describe_device
from ..runtime.memory import available_memory
from ..runtime.progress import Progress, ProgressCallback
from ..spatial.fields import downsample, invert, jacobian_determinant, resize_field, vector_norms
from ..spatial.grid import (
    Grid,
    affine_then_field,
    inverse_of_affine_then_field,
    linear_fit,
    voxel_to_millimetres,
    voxel_to_voxel,
)
from ..spatial.label_resampling import warp_labels
from ..spatial.resampling import resample_image
from ..spatial.warping import AffineWarper
from ..version import VERSION
from .affine import align
from .deformable import COARSEST_FACTOR, Level
from .intensity_mapping import deform_across_contrasts
from .result import RegistrationResult
from .schedules import affordable_levels
from .segmented_pair import PairAnatomy
from .template import DRAWN_SPACING, mean_brain

# A start that departs from a linear map by more than this, in mm, is not one.
LARGEST_NONLINEAR_START = 0.5
# Of the time of deforming, by way of the mean brain too.
COARSE_SHARE = 0.3


def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    mode: str = "standard",
    device: str = "auto",
    progress: ProgressCallback | None = None,
    *,
    initial_transform: sitk.Transform | None = None,
    affine: bool = True,
    moving_labels: sitk.Image | None = None,
    model: Model | None = None,
    start_from_segmentation: bool = True,
) -> RegistrationResult:
    """Register a moving brain image to a fixed one.

    Both are segmented as well, where the weights of the network that does so are installed.

    :param mode: ``fast``, ``standard`` or ``accurate``.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param progress: called with a fraction and a sentence; what it raises stops the run.
    :param initial_transform: a linear transform of fixed points to moving points (LPS mm) to start from.
    :param affine: estimate an affine alignment first; if not, the initial transform is used as it is.
    :param moving_labels: a label map of the moving image to carry over to the fixed one, in place of the network's.
    :param model: a network that gives the field, in modes other than ``fast`` refined at the finest levels of direct
        optimisation or by learning on this pair; by default the field is optimised from the affine alignment.
    :param start_from_segmentation: where both are segmented, begin the affine alignment at the structures' centroids
        in place of a search; not with an initial transform.
    :returns: see :class:`RegistrationResult`.
    :raises InputError: an argument cannot be used; the message says which and what to do.
    """
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: there is no such mode; use {', '.join(MODES)}.")
    where = choose_device(device)
    network = default_model() if can_segment() else None
    stages = Progress(progress, _expected_shares(mode, affine, network is not None))
    with torch.no_grad(), ThreadPoolExecutor(max_workers=1) as beside:
        stages.begin("Preparing the images")
        pair = _Pair.prepared(fixed, moving, where)
        start = _starting_matrix(initial_transform, pair.fixed.grid)
        anatomy = label_maps = None
        if network is not None:
            stages.begin("Segmenting")
            anatomy = PairAnatomy.of((fixed, moving), (pair.fixed, pair.moving), network)
            if moving_labels is None:
                # What follows leaves much of a second core idle.
                label_maps = beside.submit(anatomy.labels, fixed, moving)
                # The thread is to end with its work: while it lives, so do OpenMP's threads of its own, and with
                # more of those than cores all of them fall asleep between operations (docs/develop/experiments.md).
                beside.shutdown(wait=False)
        if affine:
            stages.begin("Aligning the heads")
            use_anatomy = anatomy is not None and start is None and start_from_segmentation
            with torch.enable_grad():
                start = anatomy.align(pair.fixed, pair.moving) if use_anatomy else align(pair.fixed, pair.moving, start)
        start = np.eye(4) if start is None else start
        matrix = voxel_to_voxel(start, pair.fixed.grid, pair.moving.grid)
        stages.begin("Deforming")
        notes = []
        displacement = None if model is None else model.field(pair.fixed, pair.moving, matrix, mode, stages.update)
        if model is None or (mode != "fast" and not model.learns_on_pairs):
            memory = available_memory() if device == "auto" and where.type == "cpu" else None
            levels, note = affordable_levels(mode, pair.fixed.grid, memory)
            notes += filter(None, [note])
            levels = levels if model is None else model.refining(levels)
            displacement = _deformed(pair, matrix, levels, anatomy, displacement, stages.update)
        stages.begin("Inverting the transform")
        found = _Found.from_field(displacement, pair, matrix)
        stages.begin("Writing into the images' space")
        result = found.published(fixed, moving, moving_labels)
        notes += filter(None, [initial_overlap_note(moving, result.warped)])
        if label_maps is not None:
            result.fixed_labels, result.moving_labels = label_maps.result()
        overlap = _overlap(anatomy, result.transform) if anatomy is not None else {}
    total = stages.finish()
    used = model or network
    result.report = found.figures() | {
        "mode": mode,
        "device": describe_device(where),
        "seconds": {"total": total, "stages": stages.seconds},
        "dice_before": overlap.get("before"),
        "dice_after": overlap.get("after"),
        "model": used.description() if used else None,
        "notes": notes,
        "versions": {"slsfgr": VERSION, "torch": torch.__version__, "SimpleITK": sitk.__version__},
    }
    return result


def _deformed(
    pair: _Pair,
    matrix: np.ndarray,
    levels: tuple[Level, ...],
    anatomy: PairAnatomy | None,
    start: torch.Tensor | None,
    update: Callable[[float], None],
) -> torch.Tensor:
    """Optimise the field, comparing tissues too where the level does and the images are segmented.

    What the coarse levels find is then drawn to the mean brain.
    """
    compares_tissues = anatomy is not None and any(level.tissues for level in levels)
    tissues = anatomy.tissues(pair.fixed, pair.moving) if compares_tissues else None
    optimised = partial(deform_across_contrasts, pair.fixed, pair.moving, matrix, tissues=tissues)
    mean = mean_brain() if compares_tissues and start is None else None
    coarse = tuple(level for level in levels if level.spacing >= DRAWN_SPACING)
    if mean is None or not coarse:
        return optimised(levels, start=start, update=update)
    field = optimised(coarse, update=lambda fraction: update(COARSE_SHARE * fraction))
    field = anatomy.drawn_to_mean(field, matrix, pair.fixed, pair.moving, tissues, mean)
    fine = levels[len(coarse) :]
    if not fine:
        return field
    return optimised(fine, start=field, update=lambda fraction: update(COARSE_SHARE + (1.0 - COARSE_SHARE) * fraction))


def _overlap(anatomy: PairAnatomy, transform: sitk.Transform) -> dict[str, float]:
    """Mean Dice of the network's structures before and after the registration."""
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return {"before": anatomy.overlap(identity), "after": anatomy.overlap(transform)}


def _expected_shares(mode: str, affine: bool, segmenting: bool) -> dict[str, float]:
    """Each stage's part of the time: seconds, as measured on 1 mm brains with two CPU cores."""
    shares = {"Preparing the images": 0.3}
    if segmenting:
        shares["Segmenting"] = 0.9
    if affine:
        shares["Aligning the heads"] = 0.7
    shares["Deforming"], shares["Inverting the transform"] = {
        "fast": (0.8, 0.1),
        "standard": (7.5, 1.2),
        "accurate": (12.0, 1.2),
    }[mode]
    return shares | {"Writing into the images' space": 0.5}


def _starting_matrix(transform: sitk.Transform | None, grid: Grid) -> np.ndarray | None:
    """The 4x4 LPS matrix of a linear transform.

    :raises InputError: the transform is not linear.
    """
    if transform is None:
        return None
    matrix, residual = linear_fit(transform, grid.centre)
    if residual > LARGEST_NONLINEAR_START:
        raise InputError("the initial transform is not linear; give a rigid or affine one.")
    return matrix


@dataclass(frozen=True)
class _Pair:
    """The two prepared images on one device."""

    fixed: PreparedImage
    moving: PreparedImage

    @classmethod
    def prepared(cls, fixed: sitk.Image, moving: sitk.Image, device: torch.device) -> _Pair:
        spacing = working_spacing(fixed)
        with ThreadPoolExecutor(max_workers=1) as beside:
            of_moving = beside.submit(prepare, moving, "the moving image", spacing)
            of_fixed = prepare(fixed, "the fixed image", spacing, margin=8.0, multiple=COARSEST_FACTOR)
            return cls(of_fixed.to(device), of_moving.result().to(device))


@dataclass(frozen=True)
class _Found:
    """The transform that was found, in voxels, and what was measured on it."""

    pair: _Pair
    matrix: np.ndarray
    displacement: torch.Tensor
    inverse: torch.Tensor
    residual: float

    @classmethod
    def from_field(cls, displacement: torch.Tensor, pair: _Pair, matrix: np.ndarray) -> _Found:
        inverse, residual = invert(displacement)
        return cls(pair, matrix, displacement, inverse, residual)

    @property
    def grid(self) -> Grid:
        """The grid of the field in space."""
        return self.pair.fixed.grid.resized(self.displacement.shape[2:])

    def published(self, fixed: sitk.Image, moving: sitk.Image, moving_labels: sitk.Image | None) -> RegistrationResult:
        """SimpleITK objects in the images' own space."""
        matrix = voxel_to_millimetres(self.matrix, self.pair.fixed.grid, self.pair.moving.grid)
        transform = affine_then_field(matrix, self.displacement, self.grid)
        inverse = inverse_of_affine_then_field(matrix, self.inverse, self.grid)
        warped = resample_image(moving, fixed, transform)
        fixed_labels = None if moving_labels is None else warp_labels(moving_labels, transform, fixed)
        return RegistrationResult(warped, transform, inverse, fixed_labels, moving_labels)

    def figures(self) -> dict:
        """Folding, displacement and likeness inside the head."""
        spacing = float(self.grid.spacing.mean())
        coarse = resize_field(self.displacement, [size // 2 for size in self.pair.fixed.grid.shape])
        head = downsample(self.pair.fixed.tensor, 2)
        inside = (
            torch.nn.functional.interpolate(self.pair.fixed.tensor, size=self.displacement.shape[2:], mode="area")[0, 0]
            > 0.05
        )
        folded = jacobian_determinant(self.displacement)[0][inside] <= 0
        distances = vector_norms(self.displacement)[0][inside] * spacing
        warper = AffineWarper(self.pair.moving.tensor, self.matrix, self.pair.fixed.grid.shape, 2)
        maps = [local_correlation(warper(field), head) for field in (torch.zeros_like(coarse), coarse)]
        likeness = [float(values[head > 0.05].mean()) for values in maps]
        return {
            "folding_percent": 100.0 * float(folded.float().mean()),
            "displacement_mm": {"mean": float(distances.mean()), "max": float(distances.max())},
            "inverse_residual_mm": self.residual * spacing,
            "similarity_before": likeness[0],
            "similarity_after": likeness[1],
        }
