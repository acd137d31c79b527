"""Structures that two label protocols have in common, and the merging of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# Neuromorphometrics' numbers on the right and on the left, and FreeSurfer's. Even cortical labels are right and odd
# ones left, as the adjacent white matter shows. Inferior lateral ventricles are part of the lateral ventricles.
SIDED = {
    "cerebral white matter": ((44,), (45,), (41,), (2,)),
    "cortex": (tuple(range(100, 208, 2)), tuple(range(101, 208, 2)), (42,), (3,)),
    "lateral ventricle": ((51, 49), (52, 50), (43,), (4,)),
    "thalamus": ((59,), (60,), (49,), (10,)),
    "caudate": ((36,), (37,), (50,), (11,)),
    "putamen": ((57,), (58,), (51,), (12,)),
    "pallidum": ((55,), (56,), (52,), (13,)),
    "hippocampus": ((47,), (48,), (53,), (17,)),
    "amygdala": ((31,), (32,), (54,), (18,)),
    "accumbens": ((23,), (30,), (58,), (26,)),
    "cerebellum": ((38, 40), (39, 41), (46, 47), (7, 8)),
}
# Structure: Neuromorphometrics' numbers, FreeSurfer's.
STRUCTURES = {
    f"{side} {name}": (numbers[column], numbers[column + 2])
    for name, numbers in SIDED.items()
    for column, side in enumerate(("right", "left"))
} | {"brain stem": ((35,), (16,))}
VERMIS = (71, 72, 73)
# LPBA40's numbers and Neuromorphometrics', left before right: caudate, putamen, hippocampus. The lateral ventricles
# come last; LPBA40 has none.
LPBA40 = [(161,), (162,), (163,), (164,), (165,), (166,), ()]
NEUROMORPHOMETRICS = [(37,), (36,), (58,), (57,), (48,), (47,), (4, 49, 50, 51, 52)]
VENTRICLES = len(LPBA40)
CSF = 1
# CSF so deep in SRI24's brain, where LPBA40 has no label, is ventricle: 20 mL.
VENTRICLE_DEPTH_MM = 34.0


def merged(labels: sitk.Image, members: Sequence[tuple[int, ...]]) -> sitk.Image:
    """Return a label map with 1, 2, ... where the labels are among the first, the second, ... members."""
    array = sitk.GetArrayViewFromImage(labels)
    structures = np.zeros(array.shape, np.uint8)
    for number, some in enumerate(members, 1):
        structures[np.isin(array, some)] = number
    image = sitk.GetImageFromArray(structures)
    image.CopyInformation(labels)
    return image


def manual_structures(labels: sitk.Image) -> sitk.Image:
    """Return the :data:`STRUCTURES` of Neuromorphometrics' labels; the vermis goes to the nearer cerebellar half."""
    right, left = (sitk.SignedMaurerDistanceMap(labels == number, squaredDistance=True) for number in (38, 39))
    nearer = sitk.Cast(right < left, labels.GetPixelID())
    vermis = sitk.Cast(sum(labels == number for number in VERMIS) > 0, labels.GetPixelID())
    with_sides = labels * (1 - vermis) + vermis * (39 - nearer)
    return merged(with_sides, [manual for manual, _ in STRUCTURES.values()])


def sri24_structures(folder: Path) -> sitk.Image:
    """Return the structures that :data:`LPBA40` lists, with the ventricles from SRI24's map of tissues."""
    labels, tissues = (sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("lpba40", "tissues"))
    structures = merged(labels, LPBA40)
    distance = sitk.SignedMaurerDistanceMap(
        tissues > 0, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
    )
    deep = (tissues == CSF) & (distance > VENTRICLE_DEPTH_MM) & (labels == 0)
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(deep)) == 1
    return sitk.Mask(structures, largest == 0, outsideValue=VENTRICLES)
