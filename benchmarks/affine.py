"""Align the whole heads of two people by an affine transform: ``python -m benchmarks.affine --output DIR``.

The heads are those of :mod:`benchmarks.whole_heads`, in any two contrasts, the second turned by up to 30 degrees and
moved by up to 50 mm. ``errors.csv`` has a line for each pair: the mean distance in mm in the brain from the affine
transform that is fitted to the centroids of the true labels, of the stage that a deformation starts from and of
``--transform affine``. More than 10 mm is a failure. A pair that is in it is not aligned again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.affine_fit import fit_affine

from .csv_tables import append, rows
from .data import Brain
from .head_rendering import CONTRASTS
from .rigid_pairs import rigid_motion
from .score import mean_distance
from .whole_heads import HELD_OUT, WHOLE, rendered_head

COLUMNS = ("number", "fixed", "moving", "degrees", "stage_mm", "affine_mm")
MAXIMUM_DEGREES, MAXIMUM_SHIFT_MM, FAILURE_MM = 30.0, 50.0, 10.0


@dataclass(frozen=True)
class Drawn:
    """Two heads to align.

    :param pose: in which the moving one is: points of the head as it was rendered to points of the turned one.
    """

    fixed: Brain
    moving: Brain
    pose: Affine
    degrees: float


def main() -> None:
    """Align all pairs and count the failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; continued if it exists")
    parser.add_argument("--pairs", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (default: 1)")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    table = given.output / "errors.csv"
    done = {int(row["number"]) for row in rows(table)}
    for number in sorted(set(range(given.pairs)) - done):
        drawn = draw(given.output / "heads", number, given.seed)
        names = [brain.image.name.removesuffix(".nii.gz") for brain in (drawn.fixed, drawn.moving)]
        row = (number, *names, f"{drawn.degrees:.1f}", *(f"{error:.3f}" for error in errors(drawn)))
        print(*row, flush=True)
        append(table, COLUMNS, row)
    print(summary(rows(table)))


def draw(heads: Path, number: int, seed: int) -> Drawn:
    """Draw two people, their contrasts and the pose of the second."""
    random = np.random.default_rng([seed, number])
    people = random.permutation(HELD_OUT)[:2]
    fixed, moving = (rendered_head(heads, person, random.choice(CONTRASTS), WHOLE) for person in people)
    axis, shift = random.normal(size=(2, 3))
    degrees = random.uniform(0.0, MAXIMUM_DEGREES)
    shift *= random.uniform(0.0, MAXIMUM_SHIFT_MM) / np.linalg.norm(shift)
    centre = np.mean(list(centroids(sitk.ReadImage(str(moving.labels))).values()), axis=0)
    return Drawn(fixed, moving, rigid_motion(axis, np.deg2rad(degrees), centre, shift), degrees)


def errors(drawn: Drawn) -> tuple[float, float]:
    """Return the mean distance in mm of both alignments from the one that the true labels give."""
    import SLSFGRLib
    from SLSFGRLib.registration.align import align
    from SLSFGRLib.registration.rigid import align_heads

    fixed_labels = sitk.ReadImage(str(drawn.fixed.labels))
    there, here = centroids(sitk.ReadImage(str(drawn.moving.labels))), centroids(fixed_labels)
    both = sorted(here.keys() & there.keys())
    truth = fit_affine(
        np.array([here[label] for label in both]), drawn.pose.apply(np.array([there[label] for label in both]))
    )
    fixed = _subject(drawn.fixed.image)
    moving = SLSFGRLib.load_subject(turned(sitk.ReadImage(str(drawn.moving.image)), drawn.pose))
    found = align(fixed, moving), align_heads(fixed, moving, None, False)
    return tuple(mean_distance(affine.to_itk(), truth.to_itk(), fixed_labels > 0) for affine in found)


def turned(image: sitk.Image, pose: Affine) -> sitk.Image:
    """Return a head in another pose, on a grid with more room."""
    room = [size // 4 for size in image.GetSize()]
    grid = sitk.ConstantPad(image, room, room, 0)
    grid.SetOrigin((np.array(grid.GetOrigin()) + pose.apply(_middle(image)) - _middle(image)).tolist())
    return sitk.Resample(image, grid, pose.inverse().to_itk(), sitk.sitkLinear)


def centroids(labels: sitk.Image) -> dict[int, np.ndarray]:
    """Return the centroid of each label, in LPS mm."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    return {label: np.array(shapes.GetCentroid(label)) for label in shapes.GetLabels()}


def _middle(image: sitk.Image) -> np.ndarray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2.0 for size in image.GetSize()]))


@lru_cache(maxsize=len(HELD_OUT) * len(CONTRASTS))
def _subject(path: Path) -> object:
    import SLSFGRLib

    return SLSFGRLib.load_subject(sitk.ReadImage(str(path)))


def summary(pairs: list[dict[str, str]]) -> str:
    """Return errors and failures of both alignments, as a table in Markdown."""
    lines = ["| alignment | pairs | mean | worst | failures |", "|---|---|---|---|---|"]
    for words, column in (("before a deformation", "stage_mm"), ("`--transform affine`", "affine_mm")):
        found = np.array([float(row[column]) for row in pairs])
        lines.append(
            f"| {words} | {len(found)} | {found.mean():.1f} mm | {found.max():.1f} mm | {(found > FAILURE_MM).sum()} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
