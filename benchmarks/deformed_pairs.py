"""Draw pairs of whole heads with a known deformation between them; runs in a process of its own.

The fixed head is the moving one turned and smoothly deformed. Both have a bias field and noise of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

import SLSFGRLib
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.spatial.affine import Affine

from .data import DATA, KnownPair
from .image_variants import write
from .rigid_pairs import acquired, brain_mask, cropped, positive, rendered

REAL_HEADS = ("heads/icbm152_t1", "heads/patient_t1")
# Label maps that no training saw.
MAPS = (17, 18, 19, 20)
PEAK_MM, KNOTS_MM = 8.0, 40.0
MAXIMUM_ANGLE, SHIFT_MM = 15.0, 5.0


def draw(contrasts: tuple[str, str], number: int, seed: int, folder: Path) -> KnownPair:
    """Make one pair, and write it on first use.

    :param contrasts: of the fixed and the moving image. In T1 every other head is a real one.
    """
    pair = KnownPair.in_folder(folder / f"{seed}-{number:02d}-{'-'.join(contrasts)}")
    if pair.kind.exists():
        return pair
    random = np.random.default_rng([seed, number])
    fixed, moving, mask = _head(contrasts, number, random)
    truth = _truth(mask, random)
    fixed = sitk.Resample(fixed, fixed, truth, sitk.sitkBSpline, 0.0)
    write(acquired(fixed, fixed, Affine.identity(), random), pair.fixed)
    write(acquired(moving, moving, Affine.identity(), random), pair.moving)
    write(sitk.Resample(mask, mask, truth, sitk.sitkNearestNeighbor), pair.mask)
    sitk.WriteTransform(truth, str(pair.truth))
    pair.kind.write_text("-".join(contrasts))
    return pair


def _head(
    contrasts: tuple[str, str], number: int, random: np.random.Generator
) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Return one head in two contrasts, and where its brain is."""
    if contrasts == ("t1", "t1") and number % 2 == 0:
        image = read_image(DATA / f"{REAL_HEADS[number // 2 % len(REAL_HEADS)]}.nii.gz")
        mask = SLSFGRLib.brain_mask(SLSFGRLib.segment(image))
        image = positive(image)
        return image, image, mask
    labels = cropped(read_labels(DATA / f"brain_labels/training_seg_{MAPS[number % len(MAPS)]:02d}.nii.gz"))
    fixed, moving = (rendered(labels, contrast, random) for contrast in contrasts)
    return fixed, fixed if contrasts[0] == contrasts[1] else moving, brain_mask(labels)


def _truth(mask: sitk.Image, random: np.random.Generator) -> sitk.Transform:
    """Return a smooth deformation of the brain by 8 mm at most, followed by a rigid transform."""
    knots = [
        max(1, round(size * spacing / KNOTS_MM))
        for size, spacing in zip(mask.GetSize(), mask.GetSpacing(), strict=True)
    ]
    deformation = sitk.BSplineTransformInitializer(mask, knots, 3)
    weights = random.normal(size=len(deformation.GetParameters()))
    deformation.SetParameters(weights.tolist())
    field = sitk.TransformToDisplacementField(
        deformation, sitk.sitkVectorFloat64, mask.GetSize(), mask.GetOrigin(), mask.GetSpacing(), mask.GetDirection()
    )
    inside = sitk.GetArrayFromImage(field)[sitk.GetArrayViewFromImage(mask) > 0]
    deformation.SetParameters((PEAK_MM / np.linalg.norm(inside, axis=1).max() * weights).tolist())
    axis = random.normal(size=3)
    turn = sitk.VersorRigid3DTransform()
    turn.SetRotation((axis / np.linalg.norm(axis)).tolist(), float(np.deg2rad(random.uniform(3.0, MAXIMUM_ANGLE))))
    turn.SetTranslation(random.uniform(-SHIFT_MM, SHIFT_MM, 3).tolist())
    middle = [(size - 1) / 2 for size in mask.GetSize()]
    turn.SetCenter(mask.TransformContinuousIndexToPhysicalPoint(middle))
    # ITK applies the last transform of a composite first.
    return sitk.CompositeTransform([turn, deformation])
