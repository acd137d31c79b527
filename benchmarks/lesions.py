"""Name a tumour in one of two people: ``python -m benchmarks.lesions --output DIR``.

A ball of 18 mm radius, bright or dark, is drawn into the left white matter of the moving brain and named as its lesion.
``lesions.csv`` has a line for each pair and tumour: the volume of its place in the fixed brain, relative to what the
registration without a tumour makes of it, and the mean distance in mm between both transforms in the rest of the brain.
A pair that is in it is not registered again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import SLSFGRLib
from SLSFGRLib.runtime.process import set_up_process
from SLSFGRLib.spatial.grid import grid_of_image, moved_points, voxel_positions

from .csv_tables import append, rows
from .data import pair_of_brains

COLUMNS = ("pair", "mode", "tumour", "volume_ratio", "outside_mm")
RADIUS_MM = 18.0
LEFT_WHITE_MATTER = 45
# Intensity of the tumour, relative to the median of white matter.
TUMOURS = {"bright": 1.3, "dark": 0.3}
# Every so many voxels of the fixed brain are compared.
STEP = 400


def main() -> None:
    """Register all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; continued if it exists")
    parser.add_argument("--pairs", default="1000-1001,1006-1007,1009-1017,1013-1036", help="FIXED-MOVING of malc")
    parser.add_argument("--mode", default="standard", help="of the registration (default: standard)")
    given = parser.parse_args()
    set_up_process()
    given.output.mkdir(parents=True, exist_ok=True)
    table = given.output / "lesions.csv"
    done = {(row["pair"], row["mode"]) for row in rows(table)}
    for pair in given.pairs.split(","):
        if (pair, given.mode) not in done:
            found = [(pair, given.mode, *row) for row in compared(pair, given.mode)]
            print(*found, sep="\n", flush=True)
            append(table, COLUMNS, *found)


def compared(pair: str, mode: str) -> list[tuple[str, str, str]]:
    """Return tumour, ratio of volumes and distance for both tumours in the moving brain of a pair."""
    files = pair_of_brains(pair)
    fixed, moving = sitk.ReadImage(str(files.fixed)), sitk.ReadImage(str(files.moving))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(files.moving_labels)))
    brain = sitk.GetArrayFromImage(sitk.ReadImage(str(files.fixed_labels))) > 0
    inside = ball(labels == LEFT_WHITE_MATTER, moving)
    lesion = sitk.GetImageFromArray(inside.astype(np.uint8))
    lesion.CopyInformation(moving)
    reference = SLSFGRLib.register(fixed, moving, mode, transform="deformable").transform
    found = []
    for name, level in TUMOURS.items():
        array = sitk.GetArrayFromImage(moving)
        array[inside] = level * np.median(array[labels == LEFT_WHITE_MATTER])
        diseased = sitk.GetImageFromArray(array)
        diseased.CopyInformation(moving)
        named = SLSFGRLib.register(fixed, diseased, mode, transform="deformable", moving_lesion=lesion).transform
        ratio, distance = differences(named, reference, lesion, fixed, brain)
        found.append((name, f"{ratio:.3f}", f"{distance:.3f}"))
    return found


def ball(white_matter: np.ndarray, image: sitk.Image) -> np.ndarray:
    """Return a ball around the voxel of the white matter that is nearest to its centroid, (D, H, W) boolean."""
    positions = voxel_positions(grid_of_image(image))
    voxels = positions[white_matter]
    centre = voxels[np.linalg.norm(voxels - voxels.mean(0), axis=1).argmin()]
    return np.linalg.norm(positions - centre, axis=-1) < RADIUS_MM


def differences(
    named: sitk.Transform, reference: sitk.Transform, lesion: sitk.Image, fixed: sitk.Image, brain: np.ndarray
) -> tuple[float, float]:
    """Return the ratio of the lesion's volumes in the fixed image, and the mean distance outside it in mm.

    :param brain: (D, H, W) boolean, of the fixed image.
    """
    places = [
        sitk.GetArrayFromImage(sitk.Resample(lesion, fixed, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32))
        for transform in (named, reference)
    ]
    outside = voxel_positions(grid_of_image(fixed))[brain & (places[1] == 0)][::STEP]
    apart = moved_points(named, outside) - moved_points(reference, outside)
    return places[0].sum() / places[1].sum(), float(np.linalg.norm(apart, axis=1).mean())


if __name__ == "__main__":
    main()
