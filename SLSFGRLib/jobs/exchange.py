"""Pass images, transforms and plain values from one process to another through a folder.

Fast rather than compact: nothing is compressed; displacements are stored as 32-bit floats.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..io.transforms import transform_parts
from ..spatial.affine import Affine

INDEX = "index.json"


def save_values(values: dict[str, object], folder: Path) -> None:
    """Write named images, transforms, matrices and JSON values into a new folder.

    :raises TypeError: a value is of another kind.
    """
    folder.mkdir(parents=True)
    index = {name: _saved(value, name, folder) for name, value in values.items()}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def load_values(folder: Path) -> dict[str, object]:
    """Read what :func:`save_values` wrote."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return {name: _loaded(kind, content, folder) for name, (kind, content) in index.items()}


def _saved(value: object, name: str, folder: Path) -> tuple[str, object]:
    """Write a value; return its kind and its entry in the index."""
    if isinstance(value, sitk.Image):
        sitk.WriteImage(value, str(folder / f"{name}.mha"))
        return "image", f"{name}.mha"
    if isinstance(value, sitk.Transform):
        return "transform", [
            _saved(part, f"{name}-{number}", folder) for number, part in enumerate(transform_parts(value))
        ]
    if isinstance(value, np.ndarray):
        return "matrix", value.tolist()
    return "plain", value


def _loaded(kind: str, content: object, folder: Path) -> object:
    if kind == "image":
        return sitk.ReadImage(str(folder / content))
    if kind == "transform":
        parts = [_transform(_loaded(*part, folder)) for part in content]
        return parts[0] if len(parts) == 1 else sitk.CompositeTransform(parts)
    if kind == "matrix":
        return np.array(content)
    return content


def _transform(part: np.ndarray | sitk.Image) -> sitk.Transform:
    """Undo :func:`transform_parts` for one part."""
    if isinstance(part, sitk.Image):
        return sitk.DisplacementFieldTransform(sitk.Cast(part, sitk.sitkVectorFloat64))
    return Affine.from_parts(part[:, :3], part[:, 3]).to_itk()
