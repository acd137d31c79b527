"""The steps of a group template for one image, in whichever process: align it, warp it, write its results.

A step takes a case whose settings are plain values, and returns what writes its results into a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..io.images import read_image, read_labels, smallest_label_type
from ..io.resources import can_segment, standard_brain_path
from ..models.loading import brain_network, default_model
from ..preprocessing import PreparedImage
from ..registration.align import MIN_DICE, align, structure_dice
from ..registration.deform import deform
from ..registration.quality import measure
from ..registration.result import RegistrationResult, Solution, publish
from ..registration.schedules import affordable_levels, planned_levels
from ..report.results import write_warped_case
from ..runtime.devices import describe_device, with_cpu_fallback
from ..runtime.memory import available_memory
from ..runtime.progress import ProgressCallback
from ..segmentation.brain_mask import brain_mask
from ..segmentation.label_map import label_map
from ..segmentation.subject import Subject, are_segmented
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import compose, resize_field
from ..spatial.label_resampling import warp_labels
from ..spatial.warping import AffineWarper
from .cases import Case
from .group_space import GroupSpace, keep_intensities

ALIGN, WARP, PUBLISH = "template align", "template warp", "template publish"
AFFINE_FILE, WARPED_FILE, FIELD_FILE = "affine.json", "warped.npy", "field.npy"
LABELS_FILE, BRAIN_FILE = "labels.npy", "brain.npy"
Write = Callable[[Path], dict]


def align_step(case: Case, progress: ProgressCallback | None, library: ModuleType | None) -> Write:
    """Align an image with the standard brain.

    Writes the affine transform of points of the standard brain to points of the image, and what else all images
    together must know.
    """
    image = read_image(case.images["image"])

    def find(device: torch.device, notes: list[str]) -> tuple[dict, str, list[str]]:
        subject, standard = segmented_subject(image, device), standard_subject(device)
        affine = align(standard, subject)
        if are_segmented(standard, subject) and structure_dice(standard, subject, affine) < MIN_DICE:
            raise InputError("could not be aligned with the standard brain; look at the image, or leave it out.")
        found = {
            "matrix": affine.matrix.tolist(),
            "spacing": min(image.GetSpacing()),
            "is_t1": subject.segmentation.intensity_model.is_t1_like if subject.segmentation else True,
        }
        return found, describe_device(device), notes

    found, device, notes = with_cpu_fallback(case.settings["device"], torch.no_grad()(find))

    def write(folder: Path) -> dict:
        (folder / AFFINE_FILE).write_text(json.dumps(found), encoding="utf-8")
        return {"device": device, "notes": notes}

    return write


def warp_step(case: Case, progress: ProgressCallback | None, library: ModuleType | None) -> Write:
    """Warp the prepared image to the space of the template: by its affine transform, and deformed to a template.

    Settings: those of the space, ``affine``, ``mode`` and ``template``, the path of the present one, empty for none.
    Writes the warped image and, if it was deformed, the field.
    """
    image, settings = read_image(case.images["image"]), case.settings
    space, affine = GroupSpace.from_settings(settings), Affine(np.array(settings["affine"]))

    def find(device: torch.device, notes: list[str]) -> tuple[torch.Tensor, torch.Tensor, str, list[str]]:
        subject = segmented_subject(image, device, segment=bool(settings["template"]))
        field = torch.zeros(1, 3, 1, 1, 1, device=device)
        if settings["template"]:
            template = template_subject(settings["template"], settings["sha256"], space, device)
            field = _field(template, subject, affine, settings["mode"], notes, progress)
        return _warped(subject, affine, field, space), field, describe_device(device), notes

    warped, field, device, notes = with_cpu_fallback(settings["device"], torch.no_grad()(find))

    def write(folder: Path) -> dict:
        keep_intensities(array_from_tensor(warped[0, 0]), folder / WARPED_FILE)
        if settings["template"]:
            # Exact to some thousandths of a voxel.
            np.save(folder / FIELD_FILE, array_from_tensor(field[0]).astype(np.float16))
        return {"device": device, "notes": notes}

    return write


def publish_step(case: Case, progress: ProgressCallback | None, library: ModuleType | None) -> Write:
    """Write the transform between an image and the template, the warped image and the warped labels.

    Settings: as for :func:`warp_step`; ``field``, the image's own field to the last template but one; ``to_common``,
    the field from the last template to that one.
    """
    image, settings = read_image(case.images["image"]), case.settings
    labels = read_labels(case.files["labels"]) if "labels" in case.files else None
    space, affine = GroupSpace.from_settings(settings), Affine(np.array(settings["affine"]))

    def find(device: torch.device, notes: list[str]) -> tuple[RegistrationResult, dict[str, np.ndarray]]:
        subject = segmented_subject(image, device)
        template = template_subject(settings["template"], settings["sha256"], space, device)
        to_common = read_field(settings["to_common"]).to(device)
        own = resize_field(read_field(settings["field"]).to(device), to_common.shape[2:])
        field = compose(own, to_common)
        solution = Solution.from_field(template, affine, field)
        result = publish(template, subject, solution)
        result.report = measure(template, subject, solution, result)
        result.report |= {"device": describe_device(device), "notes": notes}
        kept = {WARPED_FILE: array_from_tensor(_warped(subject, affine, field, space)[0, 0])}
        found = label_map(subject) if subject.segmentation else None
        if found is not None:
            brain = warp_labels(brain_mask(found), result.transform, template.image)
            kept[BRAIN_FILE] = sitk.GetArrayFromImage(brain)
        given = found if labels is None else labels
        if given is not None:
            result.fixed_labels = smallest_label_type(warp_labels(given, result.transform, template.image))
            kept[LABELS_FILE] = sitk.GetArrayFromImage(result.fixed_labels)
        return result, kept

    result, kept = with_cpu_fallback(settings["device"], torch.no_grad()(find))

    def write(folder: Path) -> dict:
        keep_intensities(kept.pop(WARPED_FILE), folder / WARPED_FILE)
        for name, array in kept.items():
            np.save(folder / name, array)
        write_warped_case(result, space.image(np.load(settings["template"])), folder)
        return result.report

    return write


STEPS = {ALIGN: align_step, WARP: warp_step, PUBLISH: publish_step}


def segmented_subject(image: sitk.Image, device: torch.device, segment: bool = True) -> Subject:
    """Prepare an image and segment its brain, if this installation can.

    :raises InputError: no brain is found in it.
    """
    finder = brain_network(device)
    subject = Subject.from_image(image, "the image", device, finder)
    if finder is not None and subject.brain is None:
        raise InputError("no brain was found in the image; leave it out.")
    return _segmented(subject, device) if segment else subject


def _segmented(subject: Subject, device: torch.device) -> Subject:
    return subject.segmented(default_model().segmenter(device)) if can_segment() else subject


def standard_subject(device: torch.device) -> Subject:
    """Return the standard brain, prepared and segmented once in a process."""
    return _subject_of(standard_brain_path(), device)


@lru_cache(maxsize=1)
def _subject_of(path: Path, device: torch.device) -> Subject:
    return segmented_subject(read_image(path), device)


@lru_cache(maxsize=1)
def template_subject(path: str, sha256: str, space: GroupSpace, device: torch.device) -> Subject:
    """Return the present template, segmented once in a process.

    It is prepared already: the mean of prepared images.

    :param sha256: of the file, so that another template is not taken for this one.
    """
    array = np.load(path)
    prepared = PreparedImage(tensor_from_array(array)[None, None], space.working).to(device)
    return _segmented(Subject(space.image(array), prepared), device)


def read_field(path: Path | str) -> torch.Tensor:
    """Read a field, (1, 3, d, h, w) in its voxels."""
    return tensor_from_array(np.load(path), torch.float32)[None]


def _field(
    template: Subject,
    subject: Subject,
    affine: Affine,
    mode: str,
    notes: list[str],
    progress: ProgressCallback | None,
) -> torch.Tensor:
    """Deform an image to the template, at the finest levels for which the memory suffices."""
    on_cpu = template.prepared.tensor.device.type == "cpu"
    planned = planned_levels(mode, template.image)
    levels, note = affordable_levels(planned, template.grid, available_memory() if on_cpu else None)
    notes += filter(None, [note])

    def update(fraction: float) -> None:
        if progress is not None:
            progress(fraction, "Deforming")

    field = deform(template, subject, affine, levels, update=update)
    # Of one size for all images, so that they have a mean.
    factor = planned[-1].factor(template.grid)
    return resize_field(field, [size // factor for size in template.grid.shape])


def _warped(subject: Subject, affine: Affine, field: torch.Tensor, space: GroupSpace) -> torch.Tensor:
    """Warp a prepared image to the working grid, (1, 1, D, H, W)."""
    matrix = affine.in_voxels(space.working, subject.grid)
    return AffineWarper(subject.prepared.tensor, matrix, space.working.shape, 1)(field)
