"""Register one pair: the stages in order, from two images to a result with a report."""

from __future__ import annotations

from dataclasses import replace

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
from ..runtime.parallel import both, in_background
from ..runtime.progress import Progress, ProgressCallback
from ..segmentation.label_map import label_map
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.label_resampling import warp_labels
from ..version import VERSION
from .align import align
from .choice import Choice, choose
from .doubts import doubts
from .find_field import field_between_people, field_within_one_head
from .fixed_brain import FixedBrain
from .network import require_usable
from .quality import measure, measure_linear
from .regions import Regions, with_regions
from .result import RegistrationResult, Solution, publish, publish_linear
from .rigid import align_heads
from .settings import Settings, linear_start


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
    start = linear_start(initial_transform, fixed)
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
    segmenting = _segmentation_model(settings)
    stages = Progress(progress, settings.stage_weights(segmenting is not None))
    stages.begin("Preparing the images")
    finding = brain_extraction_model() if can_segment() else None
    finder = finding.copy_of_network(device) if finding else None
    fixed, moving = _prepared(device, finder, fixed_image, moving_image, settings)
    if finder is not None and (fixed.brain is None or moving.brain is None):
        notes.append(_no_brain_note(fixed, moving, settings))
        segmenting = None
    if segmenting is not None:
        stages.begin("Segmenting")
    fixed, moving = _segmented(fixed, moving, segmenting, settings, device)
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
    if not settings.describes_brains:
        settings.fixed_brain.keep(fixed_image, settings.regions[0], device, fixed, result.fixed_labels)
    if settings.moving_labels is not None:
        result.fixed_labels = warp_labels(settings.moving_labels, result.transform, fixed.image)
    notes += filter(None, [initial_overlap_note(moving.image, result.warped)])
    notes += doubts(fixed, moving, result)
    uses_template = is_guided or fixed.is_corrected or moving.is_corrected
    result.report = {"transform": choice.transform, "transform_reason": choice.reason} | result.report
    result.report |= {
        "mode": settings.mode,
        "device": describe_device(device),
        "models": _descriptions(finding, segmenting, settings.model, uses_template),
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


def _no_brain_note(fixed: Subject, moving: Subject, settings: Settings) -> str:
    """Return a sentence that says in which image no brain was found."""
    names = [name for name, subject in (("fixed", fixed), ("moving", moving)) if subject.brain is None]
    said = "" if settings.is_linear_wanted else "; nothing was segmented"
    return f"No brain was found in the {' and the '.join(names)} image{said}."


def _segmented(
    fixed: Subject, moving: Subject, model: Model | None, settings: Settings, device: torch.device
) -> tuple[Subject, Subject]:
    """Segment both images; without a model neither has a segmentation."""
    if model is None:
        return replace(fixed, segmentation=None), moving
    networks, describe = model.segmenter(device), settings.describes_brains
    # A model that registers by its own description of the brain has not described a fixed brain that is known.
    if fixed.segmentation is None or describe:
        fixed = fixed.segmented(networks, describe)
    return fixed, moving.segmented(networks, describe)


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
    stage = field_between_people
    if choice.is_one_head:
        affine, stage = align_heads(fixed, moving, choice.pose), field_within_one_head
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


def _label_maps(
    fixed: Subject, moving: Subject, moving_labels: sitk.Image | None, known: sitk.Image | None
) -> tuple[sitk.Image | None, sitk.Image | None]:
    """Return the label maps of both images as far as they are known before the registration.

    :param known: that of the fixed image, from a registration before.
    """
    if moving_labels is not None or fixed.segmentation is None:
        return None, moving_labels
    return known or label_map(fixed), label_map(moving)


def _descriptions(
    finder: Model | None, segmentation: Model | None, registration: Model | None, uses_template: bool
) -> list[dict]:
    """Return role, name, version and checksum of every weights file and template that took part."""
    roles = (finder, "brain extraction"), (segmentation, "segmentation"), (registration, "registration")
    models = [model.description(role) for model, role in roles if model]
    return models + ([bundled_template_file().description()] if uses_template else [])
