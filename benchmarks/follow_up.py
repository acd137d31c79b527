"""Measure known changes of a brain between scans: ``python -m benchmarks.follow_up --output DIR``.

Each real head is shown three times: in one position, and in another one as it was and with both hippocampi shrunk by a
known field, all with noise of their own. ``DIR/changes.csv`` has the true and the measured change of each structure.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

import SLSFGRLib
from SLSFGRLib.io.images import read_image
from SLSFGRLib.io.label_table import present_structures
from SLSFGRLib.jobs.longitudinal import BRAIN, FollowUp, follow_up
from SLSFGRLib.spatial.fields import invert, jacobian_determinant

from .data import DATA

HEADS = ("heads/icbm152_t1", "malc/1001_t1", "malc/1006_t1")
HIPPOCAMPI = (17, 53)
# Turns in degrees about the three axes and shifts in mm of the two positions.
POSITIONS = (((2.0, -1.0, 3.0), (3.3, -2.2, 4.1)), ((-3.0, 2.0, -1.0), (-4.7, 1.6, -2.9)))
# Standard deviation of the noise as a share of the brain's intensities.
NOISE = 0.01
# The field fades out this far beyond the image, in voxels, so that what leaves on one side does not return on another.
PADDING = 40


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--heads", nargs="+", default=HEADS, help="below the data folder, of about 1 mm")
    parser.add_argument("--percent", type=float, default=-3.0, help="change of the hippocampi (default: -3)")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with (given.output / "changes.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["head", "structure", "mL", "true_percent", "found_percent", "noise_alone_percent"])
        for head in given.heads:
            for row in measured(head, given.percent):
                writer.writerow([head, row[0], *(f"{value:.3f}" for value in row[1:])])
            stream.flush()


def measured(head: str, percent: float) -> list[tuple[str, float, float, float, float]]:
    """Return name, mL, true and found change, and the change by noise alone of each structure of a head."""
    image = sitk.Cast(read_image(DATA / f"{head}.nii.gz"), sitk.sitkFloat32)
    labels = SLSFGRLib.segment(image)
    field = shrinking_field(np.isin(sitk.GetArrayFromImage(labels), HIPPOCAMPI), percent)
    true = _true_changes(field, labels)
    first = scan(image, POSITIONS[0], 1)
    changed = _changes(follow_up([first, scan(_moved(image, field), POSITIONS[1], 2)], ["first", "changed"]))
    same = _changes(follow_up([first, scan(image, POSITIONS[1], 3)], ["first", "same"]))
    rows = [
        (name, ml, true.get(name, 0.0), found, same.get(name, (0.0, 0.0))[1]) for name, (ml, found) in changed.items()
    ]
    for name, ml, expected, found, alone in rows:
        if "hippocampus" in name or name == BRAIN:
            print(f"{head} {name}: {ml:.2f} mL, true {expected:.2f} %, found {found:.2f} %, noise alone {alone:.2f} %")
    others = [row for row in rows if row[1] > 2.0 and "hippocampus" not in row[0]]
    print(
        f"{head}, {len(others)} other structures over 2 mL: found at most {max(abs(row[3]) for row in others):.2f} %,"
        f" noise alone {max(abs(row[4]) for row in others):.2f} %"
    )
    return rows


def shrinking_field(inside: np.ndarray, percent: float) -> torch.Tensor:
    """Return a field that changes the volume of a region and of nothing else: the gradient of a potential.

    :returns: (1, 3, D, H, W) in voxels; a point x of the image lies at x + u(x) afterwards.
    """
    density = np.pad(inside.astype(float), PADDING) * percent / 100.0
    frequencies = [2 * np.pi * np.fft.fftfreq(size) for size in density.shape[:2]]
    frequencies.append(2 * np.pi * np.fft.rfftfreq(density.shape[2]))
    axes = np.meshgrid(*frequencies, indexing="ij", sparse=True)
    square = sum(axis**2 for axis in axes)
    square[0, 0, 0] = 1.0
    # Smoothed with a standard deviation of a voxel, so that the edge is not sharper than the grid can tell.
    spectrum = np.fft.rfftn(density) * np.exp(-0.5 * square) / square
    spectrum[0, 0, 0] = 0.0
    middle = tuple(slice(PADDING, -PADDING) for _ in range(3))
    parts = [np.fft.irfftn(-1j * axis * spectrum, s=density.shape, axes=(0, 1, 2))[middle] for axis in axes]
    return torch.from_numpy(np.stack(parts).astype(np.float32))[None]


def _true_changes(field: torch.Tensor, labels: sitk.Image) -> dict[str, float]:
    """Return the change of each structure's volume by a field, in percent."""
    jacobian = jacobian_determinant(field)[0].numpy()
    numbers = sitk.GetArrayViewFromImage(labels)
    names = {item.number: item.name for item in present_structures(numbers)}
    return {name: 100.0 * (float(jacobian[numbers == number].mean()) - 1.0) for number, name in names.items()}


def _moved(image: sitk.Image, field: torch.Tensor) -> sitk.Image:
    """Return what an image shows after its points have moved, by cubic B-splines."""
    back, _ = invert(field, iterations=40, tolerance=0.001)
    vectors = sitk.GetImageFromArray(back[0].flip(0).movedim(0, -1).double().numpy(), isVector=True)
    vectors = sitk.Cast(vectors, sitk.sitkVectorFloat64)
    still = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image))
    moved = sitk.Resample(still, still, sitk.DisplacementFieldTransform(vectors), sitk.sitkBSpline, 0.0)
    moved.CopyInformation(image)
    return moved


def scan(image: sitk.Image, position: tuple[Sequence[float], Sequence[float]], seed: int) -> sitk.Image:
    """Return a head in another position on the same grid, with noise."""
    turns, shift = position
    move = sitk.Euler3DTransform()
    move.SetCenter(image.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in image.GetSize()]))
    move.SetRotation(*np.radians(turns).tolist())
    move.SetTranslation(shift)
    array = sitk.GetArrayFromImage(sitk.Resample(image, image, move, sitk.sitkBSpline, 0.0))
    noise = NOISE * np.percentile(array[array > array.mean()], 95)
    noisy = np.abs(array + noise * np.random.default_rng(seed).standard_normal(array.shape))
    result = sitk.GetImageFromArray(noisy.astype(np.float32))
    result.CopyInformation(image)
    return result


def _changes(result: FollowUp) -> dict[str, tuple[float, float]]:
    """Return the volume at the first date in mL and the change in percent by structure."""
    before, after = (date.volumes_ml for date in result.dates)
    return {name: (volume, 100.0 * (after[name] / volume - 1.0)) for name, volume in before.items()}


if __name__ == "__main__":
    main()
