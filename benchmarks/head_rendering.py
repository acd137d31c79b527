"""Render whole heads from label maps by the signal equations of MRI: a renderer that no training uses.

Each tissue has a proton density and relaxation times; a contrast is a pulse sequence. The training draws intensities
instead (:mod:`SLSFGRLib.synthesis`), and never these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from SLSFGRLib.io.label_table import channel_lookup, read_label_table
from SLSFGRLib.spatial.grid import canonical_image

# Inversion, repetition and echo time in ms; 0 for no inversion. Chosen, as scanners have them.
SEQUENCES = {"t1": (900, 2300, 3), "t2": (0, 4500, 95), "flair": (2350, 9000, 110), "pd": (0, 3000, 15)}
CONTRASTS = tuple(SEQUENCES)
# Standard deviation of the noise and of the texture, relative to white matter; largest change by the bias field.
NOISE, TEXTURE, BIAS = 0.03, 0.02, 0.25
BIAS_MM, PATCH_MM, BLUR_MM = 60.0, 12.0, 0.6
# CSF this far from the brain is left by the removal of the skull.
STRIPPED_CSF_MM = 2.0
# Voxels of air that are kept around the head.
MARGIN = 10


class Tissue(NamedTuple):
    """Relaxation times in ms and proton density relative to water."""

    t1: float
    t2: float
    density: float


# Chosen from the usual values at 1.5 T.
WHITE, GREY, FLUID = Tissue(610, 80, 0.70), Tissue(960, 100, 0.82), Tissue(4000, 1800, 1.0)
FAT, MUSCLE = Tissue(260, 70, 0.85), Tissue(900, 45, 0.75)
TISSUES = {
    **dict.fromkeys((2, 41), WHITE),
    **dict.fromkeys((3, 42), GREY),
    **dict.fromkeys((4, 43, 5, 44, 14, 15, 24, 506), FLUID),
    **dict.fromkeys((7, 46), Tissue(640, 84, 0.72)),
    **dict.fromkeys((8, 47), Tissue(930, 98, 0.82)),
    **dict.fromkeys((10, 49), Tissue(760, 86, 0.77)),
    **dict.fromkeys((11, 50, 26, 58), Tissue(920, 95, 0.81)),
    **dict.fromkeys((12, 51), Tissue(880, 86, 0.80)),
    **dict.fromkeys((13, 52), Tissue(710, 66, 0.74)),
    **dict.fromkeys((17, 53, 18, 54), Tissue(1000, 106, 0.84)),
    **dict.fromkeys((16, 28, 60, 85, 512, 530), Tissue(720, 84, 0.75)),
    **dict.fromkeys((31, 63, 136, 137, 163, 164), Tissue(1300, 220, 0.90)),
    **dict.fromkeys((25, 57, 77, 78, 79), Tissue(1050, 140, 0.85)),
    **dict.fromkeys((502, 514), Tissue(1500, 30, 0.3)),
    507: FAT,
    508: MUSCLE,
    509: Tissue(1000, 120, 0.8),
    511: Tissue(600, 50, 0.7),
    515: Tissue(800, 20, 0.08),
    516: Tissue(350, 60, 0.55),
}
# Soft tissue is one label in the maps: patches of it are muscle.
SOFT_TISSUE = 507


def signal(contrast: str, tissue: Tissue) -> float:
    """Return the signal of a tissue in one of :data:`CONTRASTS`: inversion recovery or spin echo."""
    inversion, repetition, echo = SEQUENCES[contrast]
    recovery = 1.0 - np.exp(-repetition / tissue.t1)
    if inversion:
        recovery = 1.0 - 2.0 * np.exp(-inversion / tissue.t1) + np.exp(-repetition / tissue.t1)
    return float(tissue.density * abs(max(recovery, -0.05)) * np.exp(-echo / tissue.t2))


def render(numbers: sitk.Image, contrast: str, is_stripped: bool, seed: int) -> tuple[sitk.Image, sitk.Image]:
    """Render a head from a label map at 1 mm with FreeSurfer's numbers.

    :returns: the image, and the label map with the numbers of our label table.
    """
    numbers = _cropped_to_head(canonical_image(numbers))
    array = sitk.GetArrayFromImage(numbers).astype(np.int64)
    random = np.random.default_rng(seed)
    intensity = np.zeros(max(array.max(), max(TISSUES)) + 1, dtype=np.float32)
    for number, tissue in TISSUES.items():
        intensity[number] = signal(contrast, tissue)
    ideal = intensity[array]
    patches = _smooth_noise(array.shape, PATCH_MM, random) > 0
    ideal[(array == SOFT_TISSUE) & patches] = signal(contrast, MUSCLE)
    white = intensity[2]
    ideal += TEXTURE * white * random.standard_normal(array.shape).astype(np.float32) * (ideal > 0)
    ideal = _blurred(ideal, BLUR_MM)
    bias = _smooth_noise(array.shape, BIAS_MM, random)
    ideal *= 1.0 + BIAS * bias / np.abs(bias).max()
    labels = _our_numbers(array)
    if is_stripped:
        ideal *= _blurred((_near(labels, array) & (array < 500)).astype(np.float32), BLUR_MM)
    noise = NOISE * white * random.standard_normal((2, *array.shape)).astype(np.float32)
    image = 1000.0 / white * np.hypot(ideal + noise[0], noise[1])
    if is_stripped:
        image *= ideal > 0.01 * white
    return _like(image, numbers), _like(labels, numbers)


def _cropped_to_head(numbers: sitk.Image) -> sitk.Image:
    """Remove the air far around the head."""
    where = np.argwhere(sitk.GetArrayViewFromImage(numbers) > 0)[:, ::-1]
    first = np.maximum(where.min(0) - MARGIN, 0)
    last = np.minimum(where.max(0) + 1 + MARGIN, numbers.GetSize())
    return numbers[tuple(slice(int(start), int(stop)) for start, stop in zip(first, last, strict=True))]


def _our_numbers(array: np.ndarray) -> np.ndarray:
    """Map FreeSurfer's numbers to those of our label table, 0 for all else."""
    lookup = channel_lookup()
    ours = np.array([0] + [row.number for row in read_label_table()], dtype=np.uint16)
    return ours[lookup[np.clip(array, 0, len(lookup) - 1)]]


def _near(labels: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return the voxels at most :data:`STRIPPED_CSF_MM` from the brain without the CSF around it."""
    brain = sitk.GetImageFromArray(((labels > 0) & (array != 24)).astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(brain, squaredDistance=False)) < STRIPPED_CSF_MM


def _smooth_noise(shape: tuple[int, ...], scale: float, random: np.random.Generator) -> np.ndarray:
    """Draw noise that varies over some voxels."""
    knots = random.standard_normal([int(size // scale) + 3 for size in shape]).astype(np.float32)
    coarse = sitk.GetImageFromArray(knots)
    coarse.SetSpacing([scale] * 3)
    fine = sitk.Image(*map(int, shape[::-1]), sitk.sitkFloat32)
    fine.SetOrigin([scale] * 3)
    return sitk.GetArrayFromImage(sitk.Resample(coarse, fine, sitk.Transform(), sitk.sitkBSpline))


def _blurred(array: np.ndarray, sigma: float) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(array), sigma))


def _like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    kind = np.uint16 if array.dtype == np.uint16 else np.float32
    image = sitk.GetImageFromArray(array.astype(kind))
    image.CopyInformation(reference)
    return image
