"""Follow one brain through scans at several dates: volumes and their changes, without bias towards any scan.

All scans are brought into the half-way space by one resampling each, and the change of each from their mean is measured
in the same way (M. Reuter & B. Fischl: Avoiding asymmetry-induced bias in longitudinal image processing. NeuroImage 57,
2011). The structures are segmented once, in the mean, so that no noise of a segmentation enters the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..io.label_table import read_label_table
from ..models.loading import brain_network, default_model
from ..preprocessing.brain_mask import KEPT_MM
from ..preprocessing.intensities import scaled
from ..preprocessing.prepare import FINEST_SPACING, MARGIN_MM, SIZE_MULTIPLE
from ..registration.halfway import halfway_poses
from ..registration.small_changes import changes_from_mean
from ..runtime.devices import describe_device, with_cpu_fallback
from ..runtime.progress import Progress, ProgressCallback
from ..segmentation.label_map import label_map
from ..segmentation.subject import Subject
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.composite import affine_then_field
from ..spatial.fields import jacobian_determinant
from ..spatial.grid import Grid, image_from_array
from ..version import VERSION

# Two scans of one head in one contrast have a correlation of 0.9 and more in the brain. Chosen.
MIN_CORRELATION = 0.6
# A scan is empty where it has less than this share of another's intensity, if that is at least tissue: fluid has more.
# Looked for outside the brain and within its outermost millimetres. Chosen.
EMPTY, TISSUE, RIM_MM = 0.1, 0.2, 3.0
# With a larger distance of slices, in mm, small changes are not measured well. Chosen.
THICK_MM = 2.0
# All structures but the ventricles and the fluid around the brain.
BRAIN = "Brain without fluid"


@dataclass(frozen=True)
class Date:
    """One scan of a follow-up.

    :param resampled: the scan in the half-way space.
    :param transform: points of the half-way space to points of the scan, LPS mm, with the change of the brain's shape.
    :param jacobian: its volume relative to the mean at each voxel of the half-way space.
    :param volumes_ml: by structure.
    """

    name: str
    resampled: sitk.Image
    transform: sitk.Transform
    jacobian: sitk.Image
    volumes_ml: dict[str, float]


@dataclass(frozen=True)
class FollowUp:
    """The result of a follow-up.

    :param mean: the mean of all scans in intensity and shape, in the half-way space.
    :param labels: its structures.
    :param dates: in the order of the scans.
    """

    mean: sitk.Image
    labels: sitk.Image
    dates: list[Date]
    report: dict


def follow_up(
    images: Sequence[sitk.Image],
    names: Sequence[str],
    device: str = "auto",
    progress: ProgressCallback | None = None,
) -> FollowUp:
    """Measure the volumes of the structures of one brain at several dates.

    :param images: at least two scans of one head in one contrast; their order changes nothing.
    :param names: what to call them.
    :param progress: called with the fraction done and a sentence; it may raise to stop the run.
    :raises InputError: an image cannot be used, shows no brain, or differs from the others in head or contrast.
    """
    if len(images) < 2:
        raise InputError("a follow-up needs at least two scans; give more.")
    return with_cpu_fallback(device, lambda where, notes: _followed(where, notes, images, names, progress))


def _followed(
    device: torch.device,
    notes: list[str],
    images: Sequence[sitk.Image],
    names: Sequence[str],
    progress: ProgressCallback | None,
) -> FollowUp:
    weights = {"Preparing the scans": 1.0, "Aligning the heads": 4.0, "Measuring the changes": 14.0, "Segmenting": 3.0}
    stages = Progress(progress, weights)
    stages.begin("Preparing the scans")
    finder = brain_network(device)
    subjects = [Subject.from_image(image, name, device, finder) for image, name in zip(images, names, strict=True)]
    for subject, name in zip(subjects, names, strict=True):
        if finder is not None and subject.brain is None:
            raise InputError(f"{name}: no brain was found in it; give scans of a head.")
    stages.begin("Aligning the heads")
    poses = halfway_poses(subjects, stages.update)
    grid, distances = _halfway_grid(subjects, poses)
    compared = np.all([distance < KEPT_MM for distance in distances], axis=0)
    resampled = [_resampled(image, pose, grid) for image, pose in zip(images, poses, strict=True)]
    scans = [_intensities(scan, compared) for scan in resampled]
    _require_alike(scans, compared, names)
    compared &= ~_cut_off(scans, distances)
    stages.begin("Measuring the changes")
    tensors = [tensor_from_array(scan)[None, None].to(device) for scan in scans]
    inside = tensor_from_array(compared.astype(np.float32))[None, None].to(device)
    mean, fields = changes_from_mean(tensors, inside, grid.mean_spacing, stages.update)
    stages.begin("Segmenting")
    mean_image = image_from_array(array_from_tensor(mean[0, 0]), grid)
    labels, model = _structures(mean_image, finder, device)
    dates = [
        _date(name, scan, pose, field.cpu(), grid, labels)
        for name, scan, pose, field in zip(names, resampled, poses, fields, strict=True)
    ]
    report = {
        "images": list(names),
        "device": describe_device(device),
        "models": [model],
        "notes": notes + _notes(images, names),
        "versions": {"slsfgr": VERSION, "torch": torch.__version__, "SimpleITK": sitk.__version__},
        "volumes_ml": {date.name: date.volumes_ml for date in dates},
        "seconds": {"total": stages.finish(), "stages": stages.seconds},
    }
    return FollowUp(mean_image, labels, dates, report)


def _structures(mean: sitk.Image, finder: torch.nn.Module | None, device: torch.device) -> tuple[sitk.Image, dict]:
    """Segment the mean; return the label map, and which weights did it."""
    model = default_model()
    subject = Subject.from_image(mean, "the mean of the scans", device, finder).segmented(model.segmenter(device))
    return label_map(subject), model.description("segmentation")


def _halfway_grid(subjects: Sequence[Subject], poses: Sequence[Affine]) -> tuple[Grid, list[np.ndarray]]:
    """Return a grid around the brain in the half-way space, and the distance from each brain at its voxels, in mm."""
    corners = np.concatenate([_corners(subject, pose) for subject, pose in zip(subjects, poses, strict=True)])
    # Rounded, so that the order of the scans cannot change the number of voxels.
    lower, upper = np.round(corners.min(0) - MARGIN_MM, 3), np.round(corners.max(0) + MARGIN_MM, 3)
    count = np.ceil((upper - lower)[::-1] / FINEST_SPACING / SIZE_MULTIPLE).astype(int) * SIZE_MULTIPLE
    grid = Grid.upright(count, FINEST_SPACING, (lower + upper) / 2.0)
    reference = image_from_array(np.empty(grid.shape, np.uint8), grid)
    distances = []
    for subject, pose in zip(subjects, poses, strict=True):
        if subject.brain is None:
            distances.append(np.zeros(grid.shape, dtype=np.float32))
        else:
            distance = sitk.Resample(subject.brain.distance, reference, pose.to_itk(), sitk.sitkLinear, 99.0)
            distances.append(sitk.GetArrayFromImage(distance))
    return grid, distances


def _cut_off(scans: Sequence[np.ndarray], distances: Sequence[np.ndarray]) -> np.ndarray:
    """Return the voxels around which a scan is empty and another shows tissue, as where an image is cut."""
    brightest = np.max(scans, axis=0)
    empty = [(distance > -RIM_MM) & (scan < EMPTY * brightest) for scan, distance in zip(scans, distances, strict=True)]
    cut = np.any(empty, axis=0) & (brightest > TISSUE)
    reach = [round(RIM_MM / FINEST_SPACING)] * 3
    return sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(cut.astype(np.uint8)), reach)) > 0


def _corners(subject: Subject, pose: Affine) -> np.ndarray:
    """Return the corners of a subject's brain, or of its image without one, in the half-way space, (8, 3)."""
    if subject.brain is None:
        grid, ends = subject.grid, [(0, size - 1) for size in subject.grid.shape]
    else:
        grid, where = subject.brain.grid, np.argwhere(subject.brain.inside)
        ends = list(zip(where.min(0), where.max(0), strict=True))
    index = np.array(list(product(*ends)), dtype=float)
    return pose.inverse().apply(index @ grid.matrix[:3, :3].T + grid.matrix[:3, 3])


def _resampled(image: sitk.Image, pose: Affine, grid: Grid) -> sitk.Image:
    """Resample a scan into the half-way space, by cubic B-splines."""
    reference = image_from_array(np.empty(grid.shape, np.uint8), grid)
    image = sitk.Cast(image, sitk.sitkFloat32)
    outside = float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(image, reference, pose.to_itk(), sitk.sitkBSpline, outside, sitk.sitkFloat32)


def _intensities(scan: sitk.Image, compared: np.ndarray) -> np.ndarray:
    """Return the intensities of a scan from 0 to 1, scaled by those of the brain."""
    return scaled(sitk.GetArrayFromImage(scan), compared).astype(np.float32)


def _require_alike(scans: Sequence[np.ndarray], compared: np.ndarray, names: Sequence[str]) -> None:
    """Refuse a scan that shows another head or contrast than the mean of the others."""
    for number, (scan, name) in enumerate(zip(scans, names, strict=True)):
        others = np.mean([other for index, other in enumerate(scans) if index != number], axis=0)
        if np.corrcoef(scan[compared], others[compared])[0, 1] < MIN_CORRELATION:
            raise InputError(f"{name}: differs too much from the others; give scans of one head in one contrast.")


def _date(name: str, scan: sitk.Image, pose: Affine, field: torch.Tensor, grid: Grid, labels: sitk.Image) -> Date:
    jacobian = array_from_tensor(jacobian_determinant(field)[0])
    numbers = sitk.GetArrayViewFromImage(labels)
    sums = np.bincount(numbers.ravel(), jacobian.ravel().astype(np.float64), minlength=int(numbers.max()) + 1)
    voxel = float(np.prod(grid.spacing)) / 1000.0
    present = [item for item in read_label_table() if item.number < len(sums) and sums[item.number] > 0]
    volumes = {item.name: float(sums[item.number]) * voxel for item in present}
    volumes = {BRAIN: sum(volumes[item.name] for item in present if item.tissue != "CSF")} | volumes
    transform = affine_then_field(pose, field, grid)
    return Date(name, scan, transform, image_from_array(jacobian, grid), volumes)


def _notes(images: Sequence[sitk.Image], names: Sequence[str]) -> list[str]:
    """Return a sentence if slices are too thick for small changes."""
    thick = [name for image, name in zip(images, names, strict=True) if max(image.GetSpacing()) > THICK_MM]
    if not thick:
        return []
    where = ", ".join(thick)
    return [f"Slices are more than {THICK_MM:g} mm apart in {where}: changes of a few percent are uncertain."]
