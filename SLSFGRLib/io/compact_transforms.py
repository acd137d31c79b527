"""Write transforms with displacement fields in ITK's format in a tenth of the room that ITK takes.

ITK's 24 bytes for each voxel do not deflate well, since the last bits of a displacement are noise. Here a displacement
is rounded and stored in 16 bits, so that no point moves by more than 0.01 mm. Every program that uses ITK reads the
file as it is: a field in its own unit of length stands between linear transforms that convert to this unit and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..spatial.affine import Affine
from .hdf5 import FRACTIONS, Tree, fractions, write_hdf5

# How far rounding may move a point, in mm: the largest error of three numbers, each rounded by half a step.
ERROR_MM = 0.0099


def write_compact(parts: Sequence[np.ndarray | sitk.Image], path: Path) -> None:
    """Write a composite transform.

    :param parts: as :func:`SLSFGRLib.io.transforms.transform_parts` gives them.
    :raises OSError: the file cannot be written.
    """
    pieces: list[Affine | Tree] = [Affine.identity()]
    # All linear parts up to here, which stretch the error of the next field.
    outer = Affine.identity()
    for part in parts:
        if isinstance(part, sitk.Image):
            unit = 2.0 * ERROR_MM * FRACTIONS / np.sqrt(3.0) / np.linalg.norm(outer.linear, 2)
            pieces[-1] = _scaling(unit).then(pieces[-1])
            pieces += [_field(part, unit), _scaling(1.0 / unit)]
        else:
            affine = Affine.from_parts(part[:, :3], part[:, 3])
            pieces[-1], outer = affine.then(pieces[-1]), affine.then(outer)
    composite = {"TransformType": "CompositeTransform_double_3_3"}
    groups = [composite, *(_linear(piece) if isinstance(piece, Affine) else piece for piece in pieces)]
    write_hdf5({"TransformGroup": {str(number): group for number, group in enumerate(groups)}}, path)


def _scaling(factor: float) -> Affine:
    return Affine.from_parts(np.eye(3) * factor, np.zeros(3))


def _linear(affine: Affine) -> Tree:
    return {
        "TransformType": "AffineTransform_double_3_3",
        "TransformFixedParameters": np.zeros(3),
        "TransformParameters": np.append(affine.linear.ravel(), affine.translation),
    }


def _field(image: sitk.Image, unit: float) -> Tree:
    """Return the entries of a displacement field in units of so many mm."""
    origin, spacing = (np.array(lengths) / unit for lengths in (image.GetOrigin(), image.GetSpacing()))
    vectors = sitk.GetArrayViewFromImage(image).reshape(-1, 3)
    # A displacement is rounded to multiples of a fraction of its unit, which 16 bits hold up to one unit (some 90 mm).
    steps = np.rint(vectors * np.float32(FRACTIONS / unit))
    fits = np.abs(steps).max() < FRACTIONS
    return {
        "TransformType": "DisplacementFieldTransform_double_3_3",
        "TransformFixedParameters": np.concatenate([image.GetSize(), origin, spacing, image.GetDirection()]),
        "TransformParameters": fractions(steps) if fits else steps * np.float32(1.0 / FRACTIONS),
    }
