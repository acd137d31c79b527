"""From what each peer writes to one ITK transform: points of the fixed image to points of the moving, LPS mm.

This runs after the clock has stopped: a peer is charged for the files that its own users get, not for ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# Greedy's matrices are in RAS; both first axes of space turn.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_result(kind: str, folder: Path, fixed: Path) -> sitk.Transform:
    """Return the transform that a system has written.

    :param kind: a key of :data:`READERS`.
    :param folder: where the system has written its files.
    :param fixed: the fixed image, for fields without a place in space.
    """
    return READERS[kind](folder, fixed)


def read_itk(folder: Path, _fixed: Path) -> sitk.Transform:
    """One ITK transform file: our own, and elastix'."""
    return sitk.ReadTransform(str(folder / "transform.h5"))


def read_ants(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the displacement field and the affine transform of ANTs, both already in LPS mm."""
    affine = sitk.ReadTransform(str(folder / "0GenericAffine.mat"))
    return field_then_affine(displacement_field(folder / "1Warp.nii.gz"), affine)


def read_fireants(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the displacement field of FireANTs, which holds its affine transform, too."""
    return displacement_field(folder / "warp.nii.gz")


def read_greedy(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the warp of greedy, in LPS mm as ITK stores it, and its matrix in RAS."""
    return field_then_affine(displacement_field(folder / "warp.nii.gz"), greedy_affine(folder / "affine.mat"))


def read_convex_adam(folder: Path, fixed: Path) -> sitk.Transform:
    """Return the displacements of convexAdam in voxels, and the affine transform of greedy that came first."""
    voxels = np.load(folder / "displacements.npy")
    field = field_from_voxels(voxels, sitk.ReadImage(str(fixed)))
    return field_then_affine(field, greedy_affine(folder / "affine.mat"))


def read_lapirn(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the displacements of LapIRN in voxels of its own grid, and the affine transform of greedy before it."""
    return read_convex_adam(folder, folder / "fixed.nii.gz")


def read_ants_rigid(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the linear transform of ANTs."""
    return sitk.ReadTransform(str(folder / "0GenericAffine.mat"))


def read_greedy_rigid(folder: Path, _fixed: Path) -> sitk.Transform:
    """Return the matrix of greedy."""
    return greedy_affine(folder / "affine.mat")


READERS: dict[str, Callable[[Path, Path], sitk.Transform]] = {
    "itk": read_itk,
    "ants": read_ants,
    "fireants": read_fireants,
    "greedy": read_greedy,
    "ants_rigid": read_ants_rigid,
    "greedy_rigid": read_greedy_rigid,
    "convex_adam": read_convex_adam,
    "lapirn": read_lapirn,
}


def displacement_field(path: Path) -> sitk.DisplacementFieldTransform:
    """Return a displacement field image in LPS mm as a transform."""
    image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    return sitk.DisplacementFieldTransform(image)


def greedy_affine(path: Path) -> sitk.AffineTransform:
    """Read a text file with a 4x4 matrix on RAS points as a transform of LPS points."""
    matrix = RAS_TO_LPS @ np.loadtxt(path) @ RAS_TO_LPS
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].flatten().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def field_from_voxels(displacements: np.ndarray, image: sitk.Image) -> sitk.DisplacementFieldTransform:
    """Displacements in voxels along the array axes of an image as a transform of points.

    :param displacements: (D, H, W, 3), the last axis in the order of the array's axes.
    """
    columns = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    millimetres = displacements[..., ::-1].astype(np.float64) @ columns.T
    field = sitk.GetImageFromArray(millimetres, isVector=True)
    field.CopyInformation(image)
    return sitk.DisplacementFieldTransform(field)


def field_then_affine(field: sitk.Transform, affine: sitk.Transform) -> sitk.CompositeTransform:
    """First the field, then the affine transform, as every peer here warps the moving image.

    ITK applies the transform added last first.
    """
    composite = sitk.CompositeTransform([affine])
    composite.AddTransform(field)
    return composite
