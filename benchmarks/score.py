"""Score what a system has written; runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import SLSFGRLib
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import Grid, grid_of_image, mapped_points

from .data import Brain, KnownPair, Pair, PatientPair
from .image_variants import write
from .label_protocols import STRUCTURES, merged
from .peers.conversion import read_result
from .systems import SYSTEMS, System

# Fraction of the highest intensity above which a voxel is brain, in images without a skull.
BACKGROUND = 0.05
# FreeSurfer's number of the CSF around the brain, and from where on a label lies far outside the brain.
EXTRACEREBRAL_CSF, FAR_MM = 24, 4.0
# A rigid registration with a larger mean error has failed.
FAILURE_MM = 2.0
# Two public programs that are farther apart do not say where the head is.
DISAGREEMENT_MM = 1.0


def registration(pair: Pair, system: System, folder: Path) -> dict[str, float]:
    """Return Dice, surface distance and folding of a transform, and its error where the correct one is known."""
    transform = read_transform(system.reader, folder, pair.fixed)
    labels = (sitk.ReadImage(str(path)) for path in (pair.fixed_labels, pair.moving_labels))
    found = SLSFGRLib.evaluate(*labels, transform)
    figures = {
        "dice": found.mean_dice,
        "hd95_mm": found.mean_surface_distance_95,
        "folding_percent": found.folding_percent,
        "sd_log_jacobian": found.log_jacobian_deviation,
    }
    if pair.truth:
        figures["error_mm"] = mean_error(
            transform, sitk.ReadTransform(str(pair.truth)), sitk.ReadImage(str(pair.fixed))
        )
    return figures | {f"dice/{label}": dice for label, dice in found.dice.items()}


def stages(_pair: Pair, _system: System, folder: Path) -> dict[str, float]:
    """Return the seconds of each stage, as our own report gives them."""
    seconds = json.loads((folder / "report.json").read_text(encoding="utf-8"))["seconds"]["stages"]
    return {f"seconds/{stage}": taken for stage, taken in seconds.items()}


def rigid(pair: KnownPair, system: System, folder: Path) -> dict[str, float]:
    """Return the mean error in mm in the head or brain, and whether it is a failure: more than 2 mm."""
    transform = read_transform(system.reader, folder, pair.fixed)
    error = mean_distance(transform, sitk.ReadTransform(str(pair.truth)), sitk.ReadImage(str(pair.mask)))
    return {"error_mm": error, "failed": float(error > FAILURE_MM)}


def known_deformation(pair: KnownPair, system: System, folder: Path) -> dict[str, float]:
    """Return mean and 95th percentile of the error of a deformation in mm in the brain, and its folding."""
    transform, mask = read_transform(system.reader, folder, pair.fixed), sitk.ReadImage(str(pair.mask))
    error = distances(transform, sitk.ReadTransform(str(pair.truth)), grid_of_image(mask))
    error = error[sitk.GetArrayViewFromImage(mask) > 0]
    return {
        "error_mm": float(error.mean()),
        "error_95_mm": float(np.percentile(error, 95.0)),
        "folding_percent": SLSFGRLib.evaluate(mask, mask, transform).folding_percent,
    }


def one_patient(pair: PatientPair, system: System, folder: Path) -> dict[str, float]:
    """Return the mean distance in mm in the brain from each public program's result, and of these from each other.

    ``from_both_mm``, the mean of the distances from both, is left out where they disagree.
    """
    transform = read_transform(system.reader, folder, pair.fixed)
    ants = read_result("ants_rigid", pair.references / "ants", pair.fixed)
    greedy = read_result("greedy_rigid", pair.references / "greedy", pair.fixed)
    brain = sitk.ReadImage(str(pair.brain))
    pairs = {"from_ants_mm": (transform, ants), "from_greedy_mm": (transform, greedy), "ants_greedy_mm": (ants, greedy)}
    figures = {name: mean_distance(*transforms, brain) for name, transforms in pairs.items()}
    if figures["ants_greedy_mm"] <= DISAGREEMENT_MM:
        figures["from_both_mm"] = (figures["from_ants_mm"] + figures["from_greedy_mm"]) / 2.0
    return figures


def write_brain(image: Path, path: Path) -> None:
    """Write a mask of the brain in an image, unless it is there already."""
    if not path.exists():
        labels = SLSFGRLib.segment(sitk.ReadImage(str(image)))
        write(SLSFGRLib.brain_mask(labels), path)


def write_reference(pair: PatientPair, system: str, folder: Path) -> None:
    """Let a public program register a pair, unless its folder is there already."""
    if folder.exists():
        return
    scratch = folder.with_name(f"incomplete-{folder.name}")
    scratch.mkdir(parents=True, exist_ok=True)
    subprocess.run(SYSTEMS[system].command(pair, scratch), check=True, stdout=subprocess.DEVNULL)
    scratch.rename(folder)


def mean_distance(first: sitk.Transform, second: sitk.Transform, mask: sitk.Image) -> float:
    """Return the mean distance in mm between the points that two linear transforms map the voxels of a mask to."""
    voxels = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)
    points = Affine(grid_of_image(mask).matrix).apply(voxels)
    one, other = (Affine.fit(transform, points.mean(0))[0].apply(points) for transform in (first, second))
    return float(np.linalg.norm(one - other, axis=1).mean())


def segmentation(brain: Brain, _system: System, folder: Path) -> dict[str, float]:
    """Return Dice of each structure of a label map, and their mean."""
    manual = sitk.ReadImage(str(brain.labels))
    found = merged(sitk.ReadImage(str(folder / "labels.nrrd")), [ours for _, ours in STRUCTURES.values()])
    found = sitk.Resample(found, manual, sitk.Transform(), sitk.sitkNearestNeighbor)
    scores = SLSFGRLib.evaluate(manual, found, sitk.Transform(3, sitk.sitkIdentity))
    by_name = {f"dice/{name}": scores.dice[label] for label, name in enumerate(STRUCTURES, 1) if label in scores.dice}
    return {"dice": scores.mean_dice, "hd95_mm": scores.mean_surface_distance_95} | by_name


def rendered_segmentation(brain: Brain, _system: System, folder: Path) -> dict[str, float]:
    """Return the mean Dice of all structures but the CSF around the brain, and what lies far outside the brain."""
    true, found = sitk.ReadImage(str(brain.labels)), sitk.ReadImage(str(folder / "labels.nrrd"))
    scores = SLSFGRLib.evaluate(true, found, sitk.Transform(3, sitk.sitkIdentity))
    inside = sitk.SignedMaurerDistanceMap(true > 0, squaredDistance=False, useImageSpacing=True)
    labelled = sitk.GetArrayViewFromImage(found) > 0
    far = labelled & (sitk.GetArrayViewFromImage(inside) > FAR_MM)
    return {
        "dice": float(np.mean([dice for label, dice in scores.dice.items() if label != EXTRACEREBRAL_CSF])),
        "far_outside_percent": 100.0 * float(far.sum() / max(1, labelled.sum())),
    }


def read_transform(reader: str, folder: Path, fixed: Path) -> sitk.Transform:
    """Return the transform that a system has written.

    :param reader: ``affine`` for the affine part of ours, or a key of ``peers.conversion.READERS``.
    """
    if reader != "affine":
        return read_result(reader, folder, fixed)
    # ITK applies the first transform of a composite last: the field is first, the affine transform follows.
    return sitk.CompositeTransform(read_result("itk", folder, fixed)).GetNthTransform(0)


def mean_error(transform: sitk.Transform, truth: sitk.Transform, fixed: sitk.Image) -> float:
    """Return the mean distance in mm, inside the brain, between the points that two transforms map a voxel to."""
    values = sitk.GetArrayViewFromImage(fixed)
    return float(distances(transform, truth, grid_of_image(fixed))[values > BACKGROUND * values.max()].mean())


def distances(first: sitk.Transform, second: sitk.Transform, grid: Grid) -> np.ndarray:
    """Return the distance in mm between the points that two transforms map each voxel to, in the grid's shape."""
    return np.linalg.norm(mapped_points(first, grid) - mapped_points(second, grid), axis=-1)
