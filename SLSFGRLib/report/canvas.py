"""Painting on arrays: resizing, colours, letters, PNG. Pictures are (rows, columns, 3) of 8-bit colours."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# Letters as lines between points of a grid, column then row, 4 wide and 6 high; "," lifts the pen.
_STROKES = {
    "A": "06 20 46,14 34",
    "B": "00 06 36 45 44 33 03,00 30 41 42 33",
    "D": "00 06 26 44 42 20 00",
    "E": "40 00 06 46,03 33",
    "F": "40 00 06,03 33",
    "C": "41 30 10 01 05 16 36 45",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06,40 46,03 43",
    "I": "10 30,20 26,16 36",
    "L": "00 06 46",
    "M": "06 00 23 40 46",
    "N": "06 00 46 40",
    "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 42 33 03",
    "R": "06 00 30 41 42 33 03,23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40,20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "X": "00 46,40 06",
}
_ADVANCE = 6


def resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate linearly to another number of rows and columns over the same rectangle.

    :param values: (rows, columns) or (rows, columns, channels).
    """
    for axis in (0, 1):
        size = values.shape[axis]
        place = (np.arange(shape[axis]) + 0.5) * size / shape[axis] - 0.5
        place = np.clip(place, 0, size - 1)
        before = np.minimum(place.astype(int), max(size - 2, 0))
        weight = (place - before).reshape([-1 if dimension == axis else 1 for dimension in range(values.ndim)])
        after = np.minimum(before + 1, size - 1)
        values = values.take(before, axis) * (1.0 - weight) + values.take(after, axis) * weight
    return values


def grey(values: np.ndarray) -> np.ndarray:
    """Grey picture of values from 0, black, to 1, white."""
    levels = np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def blend(picture: np.ndarray, colour: np.ndarray | tuple[int, int, int], opacity: np.ndarray) -> np.ndarray:
    """Lay a colour, or another picture, over a picture.

    :param opacity: (rows, columns) from 0, nothing, to 1, covered.
    """
    opacity = np.clip(opacity, 0.0, 1.0)[..., None]
    return np.round(picture * (1.0 - opacity) + np.asarray(colour) * opacity).astype(np.uint8)


def between_colours(values: np.ndarray, stops: list[tuple[int, int, int]]) -> np.ndarray:
    """Colour values from 0 to 1 by evenly spaced stops."""
    places = np.linspace(0.0, 1.0, len(stops))
    channels = [np.interp(values, places, [stop[channel] for stop in stops]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def text_width(text: str, height: int) -> int:
    """How many pixels a line of text is wide."""
    return round((_ADVANCE * len(text) - (_ADVANCE - 4)) * height / 6)


def write_text(picture: np.ndarray, text: str, row: int, column: int, height: int = 10, shade: int = 170) -> None:
    """Write capitals on a picture, in place, with their upper left corner at a row and column."""
    scale = height / 6
    for number, letter in enumerate(text):
        for stroke in _STROKES.get(letter, "").split(","):
            points = [np.array([int(row_), int(column_)]) * scale for column_, row_ in stroke.split()]
            start = np.array([row, column + number * _ADVANCE * scale])
            for first, second in pairwise(points):
                _draw_line(picture, start + first, start + second, shade)


def _draw_line(picture: np.ndarray, first: np.ndarray, second: np.ndarray, shade: int) -> None:
    """Draw a line one and a half pixels wide with soft edges between two (row, column) places."""
    low = np.maximum(np.floor(np.minimum(first, second)).astype(int) - 2, 0)
    high = np.ceil(np.maximum(first, second)).astype(int) + 3
    part = picture[low[0] : high[0], low[1] : high[1]]
    places = np.stack(np.mgrid[: part.shape[0], : part.shape[1]], axis=-1) + low
    direction = second - first
    along = np.clip((places - first) @ direction / (direction @ direction), 0.0, 1.0)
    distance = np.linalg.norm(places - first - along[..., None] * direction, axis=-1)
    opacity = np.clip(1.25 - distance, 0.0, 1.0)
    # Where lines of a letter meet, the brighter one counts, not their sum.
    part[...] = np.maximum(part, blend(part, (shade, shade, shade), opacity))


def png_bytes(picture: np.ndarray) -> bytes:
    """Encode a picture as a PNG file."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(picture, dtype=np.uint8), isVector=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=6)
        return path.read_bytes()
