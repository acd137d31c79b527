"""Pass images, transforms and plain values from one process to another through a folder.

Images are written and read in pieces, so that a process with a user interface can do other things in between. A piece
is stored in as few bytes as cost no time: numbers that fit into a narrower type are narrowed, and what compresses to a
tenth, such as label maps and the air around a head, is compressed. Other voxels are not: they would take half the room
and five times as long. Displacements are stored as 32-bit floats; an image that was passed before is not written again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from ..io.transforms import transform_parts

INDEX = "index.json"
NOTHING: Mapping[str, object] = {}
PIECE_VALUES = 1 << 22
NARROW_TYPES = ("<i2", "<f4")
SAMPLE_STEP = 1009  # of the values that are tried before all of a piece are; prime, so that it follows no row of voxels
SAMPLE_BYTES = 1 << 15
WORTH_COMPRESSING = 10  # times smaller


def save_in_steps(values: Mapping[str, object], folder: Path, before: Mapping[str, object] = NOTHING) -> Iterator[None]:
    """Write named images, transforms, matrices and JSON values into a new folder; stop after each piece of an image.

    :param before: values that the other process still has: of an image among them, only the name is written.
    :raises TypeError: a value is of another kind.
    """
    folder.mkdir(parents=True)
    known = {id(value): name for name, value in before.items() if isinstance(value, sitk.Image)}
    index = {}
    for name, value in values.items():
        is_known = id(value) in known
        index[name] = ("before", known[id(value)]) if is_known else (yield from _saved(value, name, folder))
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def save_values(values: Mapping[str, object], folder: Path, before: Mapping[str, object] = NOTHING) -> None:
    """As :func:`save_in_steps`, in one go."""
    for _step in save_in_steps(values, folder, before):
        pass


def load_in_steps(folder: Path, before: Mapping[str, object] = NOTHING) -> Iterator[tuple[str, object] | None]:
    """Read what :func:`save_in_steps` wrote: the name and the value of each; None after each piece of an image.

    A transform comes as :func:`transform_parts` gives it.

    :param before: the values that the other process counted on.
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    for name, (kind, content) in index.items():
        yield name, before[content] if kind == "before" else (yield from _loaded(kind, content, folder))


def load_values(folder: Path, before: Mapping[str, object] = NOTHING) -> dict[str, object]:
    """As :func:`load_in_steps`, in one go."""
    return dict(filter(None, load_in_steps(folder, before)))


def _saved(value: object, name: str, folder: Path) -> Generator[None, None, tuple[str, object]]:
    """Write a value; return its kind and its entry in the index."""
    if isinstance(value, sitk.Image):
        return "image", (yield from _saved_image(value, folder / f"{name}.raw"))
    if isinstance(value, sitk.Transform):
        parts = []
        for number, part in enumerate(transform_parts(value)):
            parts.append((yield from _saved(part, f"{name}-{number}", folder)))
        return "transform", parts
    if isinstance(value, np.ndarray):
        return "matrix", value.tolist()
    json.dumps(value)  # raises TypeError now, before the images that follow are written
    return "plain", value


def _loaded(kind: str, content: object, folder: Path) -> Generator[None, None, object]:
    if kind == "image":
        return (yield from _loaded_image(content, folder))
    if kind == "transform":
        parts = []
        for part in content:
            parts.append((yield from _loaded(*part, folder)))
        return parts
    if kind == "matrix":
        return np.array(content)
    return content


def _saved_image(image: sitk.Image, path: Path) -> Generator[None, None, dict]:
    """Write the voxels of an image; return all else, and how each piece is stored."""
    array = sitk.GetArrayViewFromImage(image)
    values, pieces = array.reshape(-1), []
    with path.open("wb") as file:
        for start in range(0, values.size, PIECE_VALUES):
            pieces.append(_write_piece(values[start : start + PIECE_VALUES], file))
            yield
    return {
        "file": path.name,
        "shape": array.shape,
        "type": array.dtype.str,
        "is_vector": image.GetNumberOfComponentsPerPixel() > 1,
        "origin": image.GetOrigin(),
        "spacing": image.GetSpacing(),
        "direction": image.GetDirection(),
        "pieces": pieces,
    }


def _loaded_image(header: dict, folder: Path) -> Generator[None, None, sitk.Image]:
    array = np.empty(header["shape"], header["type"])
    values, start = array.reshape(-1), 0
    with (folder / header["file"]).open("rb") as file:
        for piece_type, size, is_compressed in header["pieces"]:
            data = file.read(size)
            piece = np.frombuffer(zlib.decompress(data) if is_compressed else data, piece_type)
            values[start : start + piece.size] = piece
            start += piece.size
            yield
    image = sitk.GetImageFromArray(array, isVector=header["is_vector"])
    image.SetOrigin(header["origin"])
    image.SetSpacing(header["spacing"])
    image.SetDirection(header["direction"])
    return image


def _write_piece(values: np.ndarray, file: BinaryIO) -> tuple[str, int, bool]:
    """Write values; return the type in which they are stored, the size in bytes, and whether they are compressed."""
    values = _narrowed(values)
    data = memoryview(values).cast("B")
    middle = len(data) // 2
    sample = data[middle : middle + SAMPLE_BYTES]
    is_compressed = WORTH_COMPRESSING * len(zlib.compress(sample, 1)) < len(sample)
    return values.dtype.str, file.write(zlib.compress(data, 1) if is_compressed else data), is_compressed


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Return the values in the narrowest type that holds them exactly."""
    for narrow in map(np.dtype, NARROW_TYPES):
        is_narrower = narrow.itemsize < values.itemsize
        if is_narrower and all(_is_exact(some, narrow) for some in (values[::SAMPLE_STEP], values)):
            return values.astype(narrow)
    return values


def _is_exact(values: np.ndarray, narrow: np.dtype) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):  # of numbers that are too large, or none
        return np.array_equal(values.astype(narrow), values)
