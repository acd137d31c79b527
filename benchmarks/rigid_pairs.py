"""Draw pairs of scans of one head with a known rigid transform between them; runs in a process of its own.

The heads are ``patient_t1``, ``icbm152_t1``, SRI24 in three contrasts, the patients' scans, and label maps rendered in
T1, T2, PD, FLAIR and as CT. The moving image is turned inside its grid, so that its header does not tell the pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES, classes

from .data import DATA, KnownPair
from .image_variants import write

CONTRASTS = ("t1", "t2", "pd", "flair", "ct")
# In CT bone is bright, and soft tissue nearly flat; bright tissue has 1.
CT_GROUPS = {"background": 0.0, "fluid": 0.505, "white": 0.515, "grey": 0.519, "outside": 0.51}
CT_TISSUES = {"cortical bone": 1.0, "cancellous bone": 0.75, "skin": 0.5, "soft tissue": 0.5, "mucosa": 0.4}
REAL_HEADS = ("heads/patient_t1", "heads/icbm152_t1", "patients/01_2_T1W", "patients/01_1_FLAIR", "patients/20_2_T1W")
SRI24 = ("spgr", "erly", "late")
UPSIDE_DOWN = 15
MAXIMUM_ANGLE, MAXIMUM_SHIFT_MM = 60.0, 100.0
THICKEST_MM, SLAB_MM = 6.0, 60.0


@dataclass(frozen=True)
class Head:
    """One head, in two contrasts that lie on each other, and where its brain is."""

    fixed: sitk.Image
    moving: sitk.Image
    mask: sitk.Image
    is_like: bool


def draw(number: int, seed: int, folder: Path) -> KnownPair:
    """Make one pair, and write it on first use.

    Every fifteenth pair is upside down, half of the pairs have thick slices, every eighth is a slab.
    """
    pair = KnownPair.in_folder(folder / f"{seed}-{number:03d}")
    if pair.mask.exists():
        return pair
    random = np.random.default_rng([seed, number])
    head = _head(number, random)
    truth = _pose(head.mask, number % UPSIDE_DOWN == UPSIDE_DOWN - 1, random)
    thick = random.integers(0, 4) if number % 2 else 3
    slab = random.integers(0, 2) if number % 8 == 3 else 2
    fixed = acquired(head.fixed, _grid(head.fixed, head.mask, Affine.identity(), random), Affine.identity(), random)
    moving = acquired(head.moving, _grid(head.moving, head.mask, truth, random), truth.inverse(), random)
    images = [
        _thick(fixed, random) if thick in (0, 2) else fixed,
        _thick(moving, random) if thick in (1, 2) else moving,
    ]
    if slab < 2:
        images[slab] = _slab(images[slab], head.mask, truth if slab else Affine.identity(), random)
    write(images[0], pair.fixed)
    write(images[1], pair.moving)
    sitk.WriteTransform(truth.to_itk(), str(pair.truth))
    kind = f"{'like' if head.is_like else 'unlike'}{'-thick' if thick < 3 else ''}{'-slab' if slab < 2 else ''}"
    pair.kind.write_text(kind + ("-upside" if number % UPSIDE_DOWN == UPSIDE_DOWN - 1 else ""))
    write(head.mask, pair.mask)
    return pair


def _head(number: int, random: np.random.Generator) -> Head:
    kind = number % 5
    if kind == 0:
        image = positive(read_image(DATA / f"{REAL_HEADS[random.integers(len(REAL_HEADS))]}.nii.gz"))
        return Head(image, image, _head_mask(image), True)
    if kind == 1:
        first, second = random.integers(0, 3, 2)
        images = [positive(read_image(DATA / f"sri24/{SRI24[place]}.nii.gz")) for place in (first, second)]
        return Head(*images, images[0] > 0.05, bool(first == second))
    labels = cropped(read_labels(DATA / f"brain_labels/training_seg_{random.integers(1, 21):02d}.nii.gz"))
    first = second = random.integers(0, len(CONTRASTS))
    if kind != 2:
        second = random.integers(0, len(CONTRASTS))
    images = [rendered(labels, CONTRASTS[place], random) for place in (first, second)]
    return Head(*images, brain_mask(labels), bool(first == second))


def rendered(labels: sitk.Image, contrast: str, random: np.random.Generator) -> sitk.Image:
    """Render a label map in a contrast, with the texture of its tissues."""
    table = classes()
    kinds = table.of_number[np.clip(sitk.GetArrayFromImage(labels), 0, len(table.of_number) - 1)]
    level, texture = np.zeros(len(table.names)), np.zeros(len(table.names))
    for place, name in enumerate(table.names):
        profile = INTENSITY_PROFILES[name]
        if contrast == "ct":
            level[place], texture[place] = CT_TISSUES.get(name, CT_GROUPS[profile.group]), 0.005
        else:
            level[place] = getattr(profile, contrast) * random.normal(1.0, 0.05)
            texture[place] = profile.texture
    coarse = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(random.normal(size=kinds.shape)), 1.0)
    pattern = sitk.GetArrayFromImage(coarse)
    image = sitk.GetImageFromArray((level[kinds] + texture[kinds] * pattern / pattern.std()).astype(np.float32))
    image.CopyInformation(labels)
    return sitk.SmoothingRecursiveGaussian(image, 0.6)


def cropped(labels: sitk.Image) -> sitk.Image:
    """Return the box of what is not background, and 4 voxels around it."""
    inside = np.argwhere(sitk.GetArrayViewFromImage(labels) > 0)
    lower, upper = np.maximum(inside.min(0) - 4, 0)[::-1], (inside.max(0) + 5)[::-1]
    return labels[tuple(slice(int(first), int(last)) for first, last in zip(lower, upper, strict=True))]


def positive(image: sitk.Image) -> sitk.Image:
    """Scale an image so that nearly all of it lies from 0 to 1."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    values = sitk.GetArrayViewFromImage(image)
    low, high = np.percentile(values, 0.5), np.percentile(values, 99.8)
    return (image - float(low)) / float(high - low)


def _head_mask(image: sitk.Image) -> sitk.Image:
    head = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.DiscreteGaussian(image, 4.0) > 0.12)) == 1
    grid = sitk.GetArrayFromImage(head).astype(bool)
    # Without the neck: what lies within 75 mm of the middle of the upper 150 mm.
    points = np.argwhere(grid) * np.array(image.GetSpacing())[::-1]
    top = points[:, 0].max()
    middle = points[points[:, 0] > top - 150.0].mean(0)
    near = np.linalg.norm(np.argwhere(np.ones_like(grid)) * np.array(image.GetSpacing())[::-1] - middle, axis=1) < 75.0
    mask = sitk.GetImageFromArray((grid & near.reshape(grid.shape)).astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def brain_mask(labels: sitk.Image) -> sitk.Image:
    """Return where a FreeSurfer label map of a whole head holds brain, without the CSF around it."""
    values = sitk.GetArrayFromImage(labels)
    mask = sitk.GetImageFromArray(((values > 0) & (values < 100) & (values != 24)).astype(np.uint8))
    mask.CopyInformation(labels)
    return mask


def _centre(mask: sitk.Image) -> np.ndarray:
    middle = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0).mean(0)[::-1]
    return np.array(mask.TransformContinuousIndexToPhysicalPoint(middle.tolist()))


def _pose(mask: sitk.Image, upside_down: bool, random: np.random.Generator) -> Affine:
    axis = random.normal(size=3)
    angle = np.deg2rad(random.uniform(0.0, MAXIMUM_ANGLE))
    if upside_down:
        axis[2], angle = 0.2 * axis[2], np.deg2rad(random.uniform(160.0, 180.0))
    shift = random.normal(size=3)
    shift *= random.uniform(0.0, MAXIMUM_SHIFT_MM) / np.linalg.norm(shift)
    return rigid_motion(axis, angle, _centre(mask), shift)


def rigid_motion(axis: np.ndarray, angle: float, centre: np.ndarray, shift: np.ndarray) -> Affine:
    """Return a rotation about an axis through a centre, followed by a shift.

    :param angle: in radians.
    """
    versor = sitk.VersorTransform((axis / np.linalg.norm(axis)).tolist(), float(angle))
    return Affine.about(np.reshape(versor.GetMatrix(), (3, 3)), centre, centre + shift)


def _grid(image: sitk.Image, mask: sitk.Image, pose: Affine, random: np.random.Generator) -> sitk.Image:
    """Return an empty image at 1 mm that holds the head in its new pose, some millimetres off the middle."""
    if np.allclose(pose.matrix, np.eye(4)):
        return image
    size = [200, 224, 200]
    grid = sitk.Image(size, sitk.sitkFloat32)
    corner = pose.apply(_centre(mask)) - (np.array(size) - 1) / 2 + random.uniform(-8, 8, 3)
    grid.SetOrigin(corner.tolist())
    return grid


def acquired(image: sitk.Image, grid: sitk.Image, back: Affine, random: np.random.Generator) -> sitk.Image:
    """Resample an image, and add a bias field and Rician noise."""
    if grid is not image:
        image = sitk.Resample(image, grid, back.to_itk(), sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    values = np.maximum(sitk.GetArrayFromImage(image), 0.0)
    knots = sitk.GetImageFromArray(random.normal(0.0, 0.15, (4, 4, 4)))
    knots.SetSpacing([(count - 1) / 3 for count in image.GetSize()])
    field = sitk.Resample(knots, image.GetSize(), sitk.Transform(), sitk.sitkBSpline, (0, 0, 0), (1, 1, 1))
    sigma = random.uniform(0.01, 0.05)
    values = values * np.exp(sitk.GetArrayFromImage(field))
    values = np.hypot(values + random.normal(0, sigma, values.shape), random.normal(0, sigma, values.shape))
    found = sitk.GetImageFromArray((1000.0 * values).astype(np.int16))
    found.CopyInformation(image)
    return found


def _thick(image: sitk.Image, random: np.random.Generator) -> sitk.Image:
    """Average along one axis into slices of 2 to 6 mm."""
    axis = int(np.argmax(image.GetSpacing())) if max(image.GetSpacing()) > 2.5 else int(random.integers(0, 3))
    factor = int(random.uniform(2.0, THICKEST_MM) / image.GetSpacing()[axis])
    return sitk.BinShrink(image, [factor if place == axis else 1 for place in range(3)]) if factor > 1 else image


def _slab(image: sitk.Image, mask: sitk.Image, pose: Affine, random: np.random.Generator) -> sitk.Image:
    """Cut 60 mm out of an image, across the middle of the brain give or take 30 mm."""
    axis = int(np.argmax(image.GetSpacing())) if max(image.GetSpacing()) > 1.5 else int(random.integers(0, 3))
    middle = image.TransformPhysicalPointToContinuousIndex(pose.apply(_centre(mask)).tolist())[axis]
    middle += random.uniform(-30.0, 30.0) / image.GetSpacing()[axis]
    half = SLAB_MM / image.GetSpacing()[axis] / 2
    first, last = max(0, round(middle - half)), min(image.GetSize()[axis], round(middle + half))
    cut = [slice(None)] * 3
    cut[axis] = slice(first, max(last, first + 8))
    return image[tuple(cut)]
