"""Pass images, transforms and plain values from one process to another through a folder.

Fast rather than compact: nothing is compressed; displacements are stored as 32-bit floats; an image that was passed
before is not written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..io.transforms import transform_parts

INDEX = "index.json"
NOTHING: Mapping[str, object] = {}


def save_values(values: Mapping[str, object], folder: Path, before: Mapping[str, object] = NOTHING) -> None:
    """Write named images, transforms, matrices and JSON values into a new folder.

    :param before: values that the other process still has: of an image among them, only the name is written.
    :raises TypeError: a value is of another kind.
    """
    folder.mkdir(parents=True)
    known = {id(value): name for name, value in before.items() if isinstance(value, sitk.Image)}
    index = {
        name: ("before", known[id(value)]) if id(value) in known else _saved(value, name, folder)
        for name, value in values.items()
    }
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def load_values(folder: Path, before: Mapping[str, object] = NOTHING) -> dict[str, object]:
    """Read what :func:`save_values` wrote; a transform comes as :func:`transform_parts` gives it.

    :param before: the values that the other process counted on.
    """
    return dict(each_value(folder, before))


def each_value(folder: Path, before: Mapping[str, object] = NOTHING) -> Iterator[tuple[str, object]]:
    """Read one value after the other, as :func:`load_values` does all at once: name and value."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    for name, (kind, content) in index.items():
        yield name, before[content] if kind == "before" else _loaded(kind, content, folder)


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
        return [_loaded(*part, folder) for part in content]
    if kind == "matrix":
        return np.array(content)
    return content
