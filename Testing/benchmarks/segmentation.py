"""Segment the real brains and score them: ``python Testing/benchmarks/segmentation.py``.

The manual labels follow the Neuromorphometrics protocol; they are merged to the structures that both they and we
know. Vermal lobules, which have no side, go to the nearer side's cerebellum. Inferior lateral ventricles are part of
the lateral ventricles.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from recontrast import t2_like

from SLSFGRLib import segment
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.models.loading import default_model, load_model

BRAINS = Path(__file__).resolve().parents[3] / "shared" / "data" / "malc"
# Even numbers are right and odd ones left, as the white matter beside them shows.
RIGHT_CORTEX, LEFT_CORTEX = tuple(range(100, 208, 2)), tuple(range(101, 208, 2))
VERMIS = (71, 72, 73)
TURN_AXIS, TURN_DEGREES = (0.5, 0.6, 0.62), 30.0
# Structure: (the manual label's numbers, ours), right then left.
STRUCTURES = {
    "right cerebral white matter": ((44,), (41,)),
    "left cerebral white matter": ((45,), (2,)),
    "right cortex": (RIGHT_CORTEX, (42,)),
    "left cortex": (LEFT_CORTEX, (3,)),
    "right lateral ventricle": ((51, 49), (43,)),
    "left lateral ventricle": ((52, 50), (4,)),
    "right thalamus": ((59,), (49,)),
    "left thalamus": ((60,), (10,)),
    "right caudate": ((36,), (50,)),
    "left caudate": ((37,), (11,)),
    "right putamen": ((57,), (51,)),
    "left putamen": ((58,), (12,)),
    "right pallidum": ((55,), (52,)),
    "left pallidum": ((56,), (13,)),
    "right hippocampus": ((47,), (53,)),
    "left hippocampus": ((48,), (17,)),
    "right amygdala": ((31,), (54,)),
    "left amygdala": ((32,), (18,)),
    "right accumbens": ((23,), (58,)),
    "left accumbens": ((30,), (26,)),
    "brain stem": ((35,), (16,)),
    "right cerebellum": ((38, 40), (46, 47)),
    "left cerebellum": ((39, 41), (7, 8)),
}


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brains", type=Path, default=BRAINS, help="folder with NNNN_t1 and NNNN_labels")
    parser.add_argument("--count", type=int, help="only the first so many brains")
    parser.add_argument("--model", help="model file (default: the one that ships)")
    parser.add_argument("--condition", choices=CONDITIONS, default="plain", help="what is done to the images first")
    parser.add_argument("--csv", type=Path, help="also write the Dice of every structure to this file")
    arguments = parser.parse_args()
    model = load_model(arguments.model) if arguments.model else default_model()
    rows = []
    for path in sorted(arguments.brains.glob("*_t1.nii.gz"))[: arguments.count]:
        name = path.name.removesuffix("_t1.nii.gz")
        manual = with_sides(read_labels(path.with_name(f"{name}_labels.nii.gz")))
        image, manual = CONDITIONS[arguments.condition](read_image(path), manual)
        start = time.perf_counter()
        found = segment(image, model=model)
        seconds = time.perf_counter() - start
        found = sitk.Resample(found, manual, sitk.Transform(), sitk.sitkNearestNeighbor)
        rows.append({"brain": name} | dice_by_structure(manual, found) | {"seconds": seconds})
        print(f"{name}  dice {mean_dice(rows[-1]):.4f}  seconds {seconds:.1f}", flush=True)
    for structure in STRUCTURES:
        print(f"{structure:30s} {np.mean([row[structure] for row in rows]):.4f}")
    print(f"mean of {len(rows)} brains  dice {np.mean([mean_dice(row) for row in rows]):.4f}")
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def with_sides(manual: sitk.Image) -> sitk.Image:
    """The manual labels with the vermis given to the nearer side's cerebellar cortex."""
    right, left = (sitk.SignedMaurerDistanceMap(manual == number, squaredDistance=True) for number in (38, 39))
    nearer = sitk.Cast(right < left, manual.GetPixelID())
    vermis = sitk.Cast(sum(manual == number for number in VERMIS) > 0, manual.GetPixelID())
    return manual * (1 - vermis) + vermis * (39 - nearer)


def dice_by_structure(manual: sitk.Image, found: sitk.Image) -> dict[str, float]:
    """Dice of every structure, two label maps on one grid."""
    first, second = (sitk.GetArrayViewFromImage(labels) for labels in (manual, found))
    scores = {}
    for structure, (numbers, ours) in STRUCTURES.items():
        a, b = np.isin(first, numbers), np.isin(second, ours)
        scores[structure] = 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())
    return scores


def mean_dice(row: dict) -> float:
    """The mean over the structures of one brain."""
    return float(np.mean([row[structure] for structure in STRUCTURES]))


def unchanged(image: sitk.Image, manual: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The image and its labels as they are."""
    return image, manual


def in_thick_slices(image: sitk.Image, manual: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The image in slices of 5 mm along its last axis, and the labels in the middles of the slices."""
    thick = sitk.BinShrink(image, [1, 1, 5])
    return thick, sitk.Resample(manual, thick, sitk.Transform(), sitk.sitkNearestNeighbor)


def in_thick_slices_beside_fine_labels(image: sitk.Image, manual: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The image likewise; the labels stay fine, though no label map in slices of 5 mm can be as fine as they are."""
    return in_thick_slices(image, manual)[0], manual


def with_t2_contrast(image: sitk.Image, manual: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The image with the contrast of a T2 image."""
    contrasted = sitk.GetImageFromArray(t2_like(sitk.GetArrayFromImage(image)))
    contrasted.CopyInformation(image)
    return contrasted, manual


def with_turned_head(image: sitk.Image, manual: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """The head turned by ``TURN_DEGREES`` about an axis that is none of the image's; the image's box grows with it."""
    turn = sitk.VersorTransform(TURN_AXIS, math.radians(TURN_DEGREES))
    middle = [(size - 1) / 2.0 for size in image.GetSize()]
    turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    room = [size // 5 for size in image.GetSize()]
    grid = sitk.ConstantPad(image, room, room, 0)
    return (
        sitk.Resample(image, grid, turn, sitk.sitkLinear),
        sitk.Resample(manual, grid, turn, sitk.sitkNearestNeighbor),
    )


CONDITIONS = {
    "plain": unchanged,
    "t2": with_t2_contrast,
    "thick": in_thick_slices,
    "thick-at-1mm": in_thick_slices_beside_fine_labels,
    "turned": with_turned_head,
}


if __name__ == "__main__":
    main()
