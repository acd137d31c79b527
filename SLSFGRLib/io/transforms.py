"""Read and write ITK transform files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..spatial.affine import Affine
from .compact_transforms import write_compact
from .images import IMAGE_ENDINGS


def read_transform(path: Path) -> sitk.Transform:
    """Read a transform of points in LPS mm: .h5, .tfm, .txt, .mat, .xfm or an image of displacements.

    :raises InputError: the file is missing or holds no three-dimensional transform.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the name.")
    try:
        transform = _read_field(path) if path.name.endswith(IMAGE_ENDINGS) else sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as a transform; an ITK transform file is needed.") from error
    if transform.GetDimension() != 3:
        raise InputError(f"{path}: holds a {transform.GetDimension()}-dimensional transform; 3 are needed.")
    return transform


def write_transform(transform: sitk.Transform, path: Path) -> None:
    """Write a transform in the format of the name's ending; ``.h5`` holds every kind.

    In an ``.h5`` file, displacements are rounded, to 0.01 mm at most, and compressed.
    """
    is_compact = path.suffix == ".h5" and not transform.IsLinear()
    parts = _parts_or_none(transform) if is_compact else None
    if parts is None:
        sitk.WriteTransform(transform, str(path))
    else:
        write_compact(parts, path)


def _parts_or_none(transform: sitk.Transform) -> list[np.ndarray | sitk.Image] | None:
    """Return the parts of a transform, or None if one is neither linear nor a displacement field."""
    try:
        return transform_parts(transform)
    except TypeError:
        return None


def _read_field(path: Path) -> sitk.Transform:
    image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    if image.GetDimension() == 5 and image.GetSize()[3:] == (1, 1):
        image = sitk.Extract(image, [*image.GetSize()[:3], 0, 0])
    if image.GetNumberOfComponentsPerPixel() != 3:
        raise InputError(f"{path}: is an image without displacements; give a transform or a displacement field.")
    return sitk.DisplacementFieldTransform(image)


def transform_parts(transform: sitk.Transform) -> list[np.ndarray | sitk.Image]:
    """Split a transform into its parts, in ITK's order: the last is applied first.

    :returns: 3x4 matrices on LPS points in mm, and displacement fields in LPS mm as vector images of 32-bit floats.
    :raises TypeError: a part is neither linear nor a displacement field.
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


def transform_from_parts(parts: Sequence[np.ndarray | sitk.Image]) -> sitk.Transform:
    """Undo :func:`transform_parts`."""
    transforms = [_from_part(part) for part in parts]
    return transforms[0] if len(transforms) == 1 else sitk.CompositeTransform(transforms)


def _from_part(part: np.ndarray | sitk.Image) -> sitk.Transform:
    if isinstance(part, sitk.Image):
        return sitk.DisplacementFieldTransform(sitk.Cast(part, sitk.sitkVectorFloat64))
    return Affine.from_parts(part[:, :3], part[:, 3]).to_itk()
