"""Register one pair: the stages in order, from two images to a result with a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..evaluation.metrics import initial_overlap_note
from ..io.resources import can_segment
from ..models.loading import brain_extraction_model, default_model
from ..models.model import Model
from ..models.template_file import bundled_template_file
from ..modes import AFFINE, AUTO, DEFORMABLE, MODES, RIGID, TRANSFORMS
from ..networks import BrainExtractionNetwork
from ..runtime.devices import describe_device, with_cpu_fallback
from ..runtime.memory import available_memory, is_out_of_memory
from ..runtime.parallel import both, in_background
from ..runtime.progress import Progress, ProgressCallback
from ..segmentation.label_map import label_map
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.label_resampling import warp_labels
from ..version import VERSION
from .align import align
from .asymmetry import asymmetry_notes
from .choice import Choice, choose
from .deform import deform, show_t1, uses_tissues
from .deform_one_head import deform_one_head
from .doubts import doubts
from .field_optimisation import Level
from .fixed_brain import FixedBrain
from .network import levels_after, network_field, require_usable
from .quality import measure, measure_linear
from .regions import Regions, with_regions
from .result import RegistrationResult, Solution, publish, publish_linear
from .rigid import align_heads
from .schedules import across_contrasts, affordable_levels, coarser_sentence, planned_levels
from .template import bundled_template

# The modes that take the time for the field via the template; that of `fast` is too detailed to gain by it.
GUIDED_MODES = ("standard", "accurate")
# Maximum deviation in mm of an initial transform from an affine one.
MAX_NONLINEARITY_MM = 0.5


@dataclass(frozen=True)
class Settings:
    """What a user may choose; see :func:`register`."""

    transform: str
    mode: str
    start: Affine | None
    affine: bool
    moving_labels: sitk.Image | None
    model: Model | None
    start_from_segmentation: bool
    regions: tuple[Regions, Regions]
    fixed_brain: FixedBrain

    @property
    def is_linear_wanted(self) -> bool:
        """Whether a rigid or affine transform was chosen: the images alone give it, the structures are not needed."""
        return self.transform in (RIGID, AFFINE)

    @property
    def describes_brains(self) -> bool:
        """Whether the chosen model segments, too, and registers by what it has found in each brain."""
        return self.model is not None and self.model.describes_brains

    @property
    def implied(self) -> str:
        """Why what was chosen beside the transform needs a deformation, a sentence; empty if it does not."""
        if self.model is not None:
            return "you chose a model, which finds a deformation."
        return "" if self.affine else "without the affine registration only a deformation is left to find."


def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    mode: str = "standard",
    device: str = "auto",
    progress: ProgressCallback | None = None,
    *,
    transform: str = AUTO,
    initial_transform: sitk.Transform | None = None,
    affine: bool = True,
    moving_labels: sitk.Image | None = None,
    model: Model | None = None,
    start_from_segmentation: bool = True,
    fixed_mask: sitk.Image | None = None,
    moving_mask: sitk.Image | None = None,
    fixed_lesion: sitk.Image | None = None,
    moving_lesion: sitk.Image | None = None,
    fixed_brain: FixedBrain | None = None,
) -> RegistrationResult:
    """Register a moving brain image to a fixed one.

    Both are segmented as well, if the segmentation network's weights are installed, unless a rigid or affine transform
    is asked for, which needs no structures.

    :param mode: ``fast``, ``standard`` or ``accurate``.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` continues on the CPU if a card's memory is full.
    :param progress: called with the fraction done and a sentence; it may raise to stop the run.
    :param transform: ``rigid``, ``affine`` or ``deformable``; ``auto`` is rigid for two scans of one head, deformable
        for two people, or for a head that is deformed all over; the images decide.
    :param initial_transform: a linear transform of fixed points to moving points (LPS mm) to start from.
    :param affine: estimate an affine alignment first; if not, the initial transform is used as it is.
    :param moving_labels: a label map of the moving image to warp to the fixed one, instead of the network's.
    :param model: a network that finds the field; in modes other than ``fast`` the field is then refined at the finest
        levels, or by instance optimisation. By default the field is optimised directly.
    :param start_from_segmentation: start the affine alignment at the structures' centroids, if both images are
        segmented and there is no initial transform.
    :param fixed_mask: not 0 in the voxels of the fixed image that may be compared; on any grid, likewise
        ``moving_mask``.
    :param fixed_lesion: not 0 where the fixed image shows what has no counterpart in the moving one, such as a tumour:
        it is not compared; between two people the other side of the brain is compared in its place, else the field
        continues smoothly through it; likewise ``moving_lesion``.
    :param fixed_brain: give the same one to several registrations in turn: an image that is fixed in all of them is
        prepared and segmented once.
    :raises InputError: an argument cannot be used, or memory is too small; the message says what to do.
    """
    if mode not in MODES:
        raise InputError(f"mode {mode!r}: there is no such mode; use {', '.join(MODES)}.")
    if transform not in TRANSFORMS:
        raise InputError(f"transform {transform!r}: there is no such transform; use {', '.join(TRANSFORMS)}.")
    if transform in (RIGID, AFFINE) and not affine:
        raise InputError(f"transform {transform!r}: nothing is left to find without the affine registration.")
    if model is not None:
        require_usable(model, mode)
    start = _affine_start(initial_transform, fixed)
    regions = Regions(fixed_mask, fixed_lesion), Regions(moving_mask, moving_lesion)
    settings = Settings(
        transform,
        mode,
        start,
        affine,
        moving_labels,
        model,
        start_from_segmentation,
        regions,
        FixedBrain() if fixed_brain is None else fixed_brain,
    )
    return with_cpu_fallback(device, lambda where, notes: _register_on(where, notes, fixed, moving, settings, progress))


@torch.no_grad()
def _register_on(
    device: torch.device,
    notes: list[str],
    fixed_image: sitk.Image,
    moving_image: sitk.Image,
    settings: Settings,
    progress: ProgressCallback | None,
) -> RegistrationResult:
    """Run all stages on one device.

    :param notes: sentences for the report, to which further ones are added.
    """
    describes = settings.describes_brains
    segmentation_model = _segmentation_model(settings)
    stages = Progress(progress, _stage_weights(settings, segmentation_model is not None))
    stages.begin("Preparing the images")
    finding_model = brain_extraction_model() if can_segment() else None
    finder = finding_model.copy_of_network(device) if finding_model else None
    fixed, moving = _prepared(device, finder, fixed_image, moving_image, settings)
    without_brain = [name for name, subject in (("fixed", fixed), ("moving", moving)) if subject.brain is None]
    if finder is not None and without_brain:
        said = "" if settings.is_linear_wanted else "; nothing was segmented"
        notes.append(f"No brain was found in the {' and the '.join(without_brain)} image{said}.")
        segmentation_model = None
    if segmentation_model is None:
        fixed = replace(fixed, segmentation=None)
    else:
        stages.begin("Segmenting")
        networks = segmentation_model.segmenter(device)
        # A model that registers by its own description of the brain has not described a fixed brain that is known.
        fixed = fixed if fixed.segmentation and not describes else fixed.segmented(networks, describes)
        moving = moving.segmented(networks, describes)
    known = settings.fixed_brain.labels if settings.fixed_brain.subject is fixed else None
    # The affine stage leaves much of a second core idle.
    label_maps = in_background(_label_maps, fixed, moving, settings.moving_labels, known)
    if settings.affine:
        stages.begin("Aligning the heads")
    choice = choose(fixed, moving, settings.transform, settings.start, settings.implied)
    notes += filter(None, [choice.warning])
    find = _deformed if choice.transform == DEFORMABLE else _moved
    result, is_guided = find(fixed, moving, choice, settings, notes, stages)
    result.fixed_labels, result.moving_labels = label_maps.result()
    if not describes:
        settings.fixed_brain.keep(fixed_image, settings.regions[0], device, fixed, result.fixed_labels)
    if settings.moving_labels is not None:
        result.fixed_labels = warp_labels(settings.moving_labels, result.transform, fixed.image)
    notes += filter(None, [initial_overlap_note(moving.image, result.warped)])
    notes += doubts(fixed, moving, result)
    result.report = {"transform": choice.transform, "transform_reason": choice.reason} | result.report
    result.report |= {
        "mode": settings.mode,
        "device": describe_device(device),
        "models": _descriptions(
            finding_model,
            segmentation_model,
            settings.model,
            uses_template=is_guided or fixed.is_corrected or moving.is_corrected,
        ),
        "notes": notes,
        "versions": {"slsfgr": VERSION, "torch": torch.__version__, "SimpleITK": sitk.__version__},
        "seconds": {"total": stages.finish(), "stages": stages.seconds},
    }
    return result


def _segmentation_model(settings: Settings) -> Model | None:
    """Return the model that segments: one that registers by its own segmentation, or the bundled one, if needed."""
    if settings.is_linear_wanted:
        return None
    if settings.describes_brains:
        return settings.model
    return default_model() if can_segment() else None


def _prepared(
    device: torch.device,
    finder: BrainExtractionNetwork | None,
    fixed_image: sitk.Image,
    moving_image: sitk.Image,
    settings: Settings,
) -> tuple[Subject, Subject]:
    """Prepare both images; the fixed one may be known, and segmented, from a registration before."""
    images = (fixed_image, "the fixed image", device, finder), (moving_image, "the moving image", device, finder)
    fixed = settings.fixed_brain.subject_for(fixed_image, settings.regions[0], device)
    if fixed is not None:
        moving = Subject.from_image(*images[1])
    else:
        fixed, moving = both(Subject.from_image, *images)
        fixed = with_regions(fixed, settings.regions[0], "the fixed image")
    return fixed, with_regions(moving, settings.regions[1], "the moving image")


def _moved(
    fixed: Subject, moving: Subject, choice: Choice, settings: Settings, notes: list[str], stages: Progress
) -> tuple[RegistrationResult, bool]:
    """Find a rigid or affine transform; return the result with its measurements, and False: no template guides it."""
    affine = align_heads(fixed, moving, choice.pose or settings.start, choice.transform == RIGID)
    stages.begin("Writing into the images' space")
    result = publish_linear(fixed, moving, affine)
    result.report = measure_linear(fixed, moving, affine, result)
    return result, False


def _deformed(
    fixed: Subject, moving: Subject, choice: Choice, settings: Settings, notes: list[str], stages: Progress
) -> tuple[RegistrationResult, bool]:
    """Find a deformation; return the result with its measurements, and whether the template guided it."""
    stage = _deform
    if choice.is_one_head:
        affine, stage = align_heads(fixed, moving, choice.pose), _deform_one_head
    elif settings.affine:
        affine = align(fixed, moving, settings.start, settings.start_from_segmentation)
    else:
        affine = settings.start or Affine.identity()
    stages.begin("Deforming")
    field, is_guided = stage(fixed, moving, affine, settings, notes, stages.update)
    stages.begin("Inverting the transform")
    solution = Solution.from_field(fixed, affine, field)
    stages.begin("Writing into the images' space")
    result = publish(fixed, moving, solution)
    result.report = measure(fixed, moving, solution, result)
    return result, is_guided


def _deform(
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
        start = network_field(model, fixed, moving, affine, settings.mode, update)
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


def _deform_one_head(
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


def _label_maps(
    fixed: Subject, moving: Subject, moving_labels: sitk.Image | None, known: sitk.Image | None
) -> tuple[sitk.Image | None, sitk.Image | None]:
    """Return the label maps of both images as far as they are known before the registration.

    :param known: that of the fixed image, from a registration before.
    """
    if moving_labels is not None or fixed.segmentation is None:
        return None, moving_labels
    return known or label_map(fixed), label_map(moving)


def _affine_start(transform: sitk.Transform | None, fixed: sitk.Image) -> Affine | None:
    """Return an initial transform as an affine one.

    :raises InputError: the transform is not linear.
    """
    if transform is None:
        return None
    middle = [(size - 1) / 2.0 for size in fixed.GetSize()[:3]]
    centre = fixed.TransformContinuousIndexToPhysicalPoint([*middle, *[0.0] * (fixed.GetDimension() - 3)])[:3]
    start, deviation = Affine.fit(transform, np.array(centre))
    if deviation > MAX_NONLINEARITY_MM:
        raise InputError("the initial transform is not linear; give a rigid or affine one.")
    return start


def _descriptions(
    finder: Model | None, segmentation: Model | None, registration: Model | None, uses_template: bool
) -> list[dict]:
    """Return role, name, version and checksum of every weights file and template that took part."""
    roles = (finder, "brain extraction"), (segmentation, "segmentation"), (registration, "registration")
    models = [model.description(role) for model, role in roles if model]
    return models + ([bundled_template_file().description()] if uses_template else [])


def _stage_weights(settings: Settings, segmenting: bool) -> dict[str, float]:
    """Return the fraction of the time of each stage: seconds on 1 mm brains with two CPU cores (docs/benchmarks.md)."""
    weights = {"Preparing the images": 0.3}
    if segmenting:
        weights["Segmenting"] = 1.8
    if settings.affine:
        weights["Aligning the heads"] = 0.7
    if settings.transform in (AUTO, DEFORMABLE):
        weights["Deforming"], weights["Inverting the transform"] = {
            "fast": (0.8, 0.1),
            "standard": (7.5, 1.2),
            "accurate": (12.0, 1.2),
        }[settings.mode]
    return weights | {"Writing into the images' space": 0.5}
