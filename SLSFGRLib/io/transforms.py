"""Reading and writing of ITK transform files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError


def read_transform(path: Path) -> sitk.Transform:
    """Read a transform of points in LPS mm: .h5, .tfm, .txt, .mat, .xfm or a displacement field image.

    :raises InputError: the file is missing, or holds no three-dimensional transform.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the name.")
    try:
        transform = _read_field(path) if _is_image(path) else sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as a transform; an ITK transform file is needed.") from error
    if transform.GetDimension() != 3:
        raise InputError(f"{path}: holds a {transform.GetDimension()}-dimensional transform; 3 are needed.")
    return transform


def write_transform(transform: sitk.Transform, path: Path) -> None:
    """Write a transform; the ending decides the format, ``.h5`` holds every kind."""
    sitk.WriteTransform(transform, str(path))


def _is_image(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"))


def _read_field(path: Path) -> sitk.Transform:
    image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    if image.GetDimension() == 5 and image.GetSize()[3:] == (1, 1):
        image = sitk.Extract(image, [*image.GetSize()[:3], 0, 0])
    if image.GetNumberOfComponentsPerPixel() != 3:
        raise InputError(f"{path}: is an image without displacements; give a transform or a displacement field.")
    return sitk.DisplacementFieldTransform(image)


def transform_parts(transform: sitk.Transform) -> list[np.ndarray | sitk.Image]:
    """What a transform is composed of, in the order in which ITK keeps it; the last is applied first.

    :returns: 3x4 matrices on LPS points in mm, and displacement fields in LPS mm as vector images of 32-bit floats.
    :raises TypeError: there is something else in it.
    """
    if isinstance(transform, sitk.CompositeTransform):
        count = transform.GetNumberOfTransforms()
        return [part for number in range(count) for part in transform_parts(transform.GetNthTransform(number))]
    if isinstance(transform, sitk.DisplacementFieldTransform):
        return [sitk.Cast(transform.GetDisplacementField(), sitk.sitkVectorFloat32)]
    if not transform.IsLinear():
        raise TypeError(f"a transform of type {transform.GetName()} cannot be passed on.")
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    return [np.column_stack([*axes, origin])]
