"""Score one transform of ``multimodal.py`` in a process of its own: ``python multimodal_score.py KIND RESULT PAIR``.

Prints as JSON the mean Dice over all labels, folding, and the mean error in mm inside the fixed brain where the right
answer is known.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from peers.conversion import read_result

from SLSFGRLib.evaluation.metrics import evaluate
from SLSFGRLib.spatial.grid import grid_of_image, mapped_points

AFFINE = "affine"
# Of the brightest voxel: what is brighter is brain, in images without a skull.
BACKGROUND = 0.05


def main() -> None:
    """Read the transform and the pair, and print the figures."""
    kind, result, pair = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    fixed = sitk.ReadImage(str(pair / "fixed.nii.gz"))
    transform = read_result("itk" if kind == AFFINE else kind, result, pair / "fixed.nii.gz")
    if kind == AFFINE:
        # The affine part stands first, and is done last.
        transform = sitk.CompositeTransform(transform).GetNthTransform(0)
    labels = (sitk.ReadImage(str(pair / f"{role}_labels.nii.gz")) for role in ("fixed", "moving"))
    found = evaluate(*labels, transform)
    figures = {
        "dice": found.mean_dice,
        "surface_distance_95_mm": found.mean_surface_distance_95,
        "folding_percent": found.folding_percent,
        "error_mm": mean_error(transform, pair / "truth.h5", fixed),
    }
    print(json.dumps(figures | {"labels": found.dice}))


def mean_error(transform: sitk.Transform, truth: Path, fixed: sitk.Image) -> float | None:
    """Mean distance in mm inside the brain between where two transforms take a voxel; None without a right answer."""
    if not truth.is_file():
        return None
    grid = grid_of_image(fixed)
    distance = mapped_points(transform, grid) - mapped_points(sitk.ReadTransform(str(truth)), grid)
    values = sitk.GetArrayViewFromImage(fixed)
    return float(np.linalg.norm(distance, axis=-1)[values > BACKGROUND * values.max()].mean())


if __name__ == "__main__":
    main()
