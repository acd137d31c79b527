"""Read and write point lists: comma-separated tables, and Slicer's .fcsv and .mrk.json files.

In memory positions are in LPS mm, whatever the file uses. A list written in the format it was read from keeps
everything but the positions: labels, identifiers, display, other columns, points without a position.

The caller chooses the direction of the transform: an ITK registration transform maps points of the fixed image to
points of the moving image, the opposite of what warping does to images.
"""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError

FORMATS = (".csv", ".fcsv", ".mrk.json")
# The coordinate systems in Slicer's files; older versions write numbers.
_TO_LPS = {"LPS": (1.0, 1.0, 1.0), "1": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0), "0": (-1.0, -1.0, 1.0)}
# ANTs writes x,y,z in LPS; Slicer exports l,p,s or r,a,s.
_CSV_COLUMNS = {("x", "y", "z"): "LPS", ("l", "p", "s"): "LPS", ("r", "a", "s"): "RAS"}
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
# Slicer writes the state of a position after the named columns: 0 is not placed yet, 3 is skipped by the user.
_FCSV_STATUS_COLUMN = 14
_FCSV_WITHOUT_POSITION = ("0", "3")
_MARKUPS_WITHOUT_POSITION = ("undefined", "missing")
# These also hold a centre, axes and sizes, which would no longer agree with moved control points.
_MARKUPS_BOXES = ("ROI", "Plane")


@dataclass(frozen=True)
class PointList:
    """Positions and labels of points, with the file that they were read from.

    :param positions: (N, 3) LPS mm, only of the points that have a position.
    :param labels: N names.
    """

    positions: np.ndarray
    labels: tuple[str, ...]
    _document: _Table | _Markups

    def with_positions(self, positions: np.ndarray) -> PointList:
        """Return the same points with other positions.

        :param positions: (N, 3) LPS mm, in the order of ``self.positions``.
        """
        positions = np.array(positions, dtype=float)
        if positions.shape != self.positions.shape:
            raise ValueError(f"{self.positions.shape} positions are needed, not {positions.shape}")
        return replace(self, positions=positions)

    def write(self, path: str | Path) -> None:
        """Write in the format of the name's ending.

        If that is not the format of the file that was read, only positions and labels are written.

        :raises InputError: the ending is not one of :data:`FORMATS`, or it is .fcsv, which Slicer is giving up, for a
            list read from another format.
        """
        wanted = _format_of(path)
        document = self._document
        if wanted != document.format:
            document = _new_document(wanted, self.labels, path)
        text = document.text(self.positions)
        # Without newline="" Windows writes line ends that Slicer's JSON schema does not allow.
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)


def is_point_list(path: str | Path) -> bool:
    """Return whether the ending of a file's name is that of a point list."""
    return str(path).lower().endswith(FORMATS)


def read_points(path: str | Path) -> PointList:
    """Read a .csv, .fcsv or .mrk.json file.

    A .csv file has a header with the columns x,y,z (LPS, as ANTs writes), l,p,s or r,a,s (as Slicer exports),
    or no header and the LPS position in its first three columns; always in mm.

    :raises InputError: the file is missing, of another kind, malformed, or holds no point.
    """
    name = str(path)
    reader = {".csv": _read_csv, ".fcsv": _read_fcsv, ".mrk.json": _read_markups}[_format_of(path)]
    document = reader(_read_text(path), name)
    positions = document.positions(name)
    if len(positions) == 0:
        raise InputError(f"{name}: holds no point with a position; place points first.")
    return PointList(positions, document.labels(), document)


def paired_points(first: str | Path, second: str | Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read the same landmarks from two files.

    They belong together by their names if both files have the same ones, each once, else by their order.

    :returns: the names, those of the first file, made different by their numbers if they are not, and the positions in
        both files, (N, 3) LPS mm each.
    :raises InputError: a file cannot be read, or they hold different numbers of points.
    """
    one, other = read_points(first), read_points(second)
    if len(one.labels) != len(other.labels):
        raise InputError(
            f"{second}: holds {len(other.labels)} points and {first} {len(one.labels)}; "
            "give the same landmarks in both."
        )
    names, order = list(one.labels), list(range(len(one.labels)))
    are_different = len(set(names)) == len(names)
    if are_different and set(names) == set(other.labels):
        order = [other.labels.index(name) for name in names]
    if not are_different:
        names = [f"{number} {name}".strip() for number, name in enumerate(names, 1)]
    return names, one.positions, other.positions[order]


def _format_of(path: str | Path) -> str:
    for ending in FORMATS:
        if str(path).lower().endswith(ending):
            return ending
    raise InputError(f"{path}: is not a point list; give a name ending in {', '.join(FORMATS)}.")


def _read_text(path: str | Path) -> str:
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; check the name.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file in UTF-8; export the points again.") from error


@dataclass(frozen=True)
class _Table:
    """A comma-separated file.

    :param comments: the lines before the first row, unchanged.
    :param rows: the cells of all rows, header included.
    :param point_rows: the indices of the rows that hold a position.
    :param columns: of x, y and z.
    :param to_lps: factors of the file's coordinates to LPS.
    """

    format: str
    comments: str
    rows: list[list[str]]
    point_rows: list[int]
    columns: tuple[int, ...]
    to_lps: tuple[float, ...]
    label_column: int | None
    line_end: str

    def positions(self, name: str) -> np.ndarray:
        """Return the positions of all points, (N, 3) LPS mm."""
        cells = [self._cells(row, name) for row in self.point_rows]
        return np.array(cells, dtype=float).reshape(-1, 3) * self.to_lps + 0.0

    def _cells(self, row: int, name: str) -> list[float]:
        try:
            values = [float(self.rows[row][column]) for column in self.columns]
        except (ValueError, IndexError):
            values = [np.nan]
        if not np.all(np.isfinite(values)):
            line = self.comments.count("\n") + row + 1
            raise InputError(f"{name}: line {line} does not hold three coordinates; correct or remove it.")
        return values

    def labels(self) -> tuple[str, ...]:
        """Return the name of each point, or its number if the table has no labels."""
        if self.label_column is None:
            return tuple(str(number) for number in range(1, len(self.point_rows) + 1))
        return tuple(_cell(self.rows[row], self.label_column) for row in self.point_rows)

    def text(self, positions: np.ndarray) -> str:
        """Render the file's text with other positions, (N, 3) LPS mm."""
        rows = [list(row) for row in self.rows]
        # Adding zero turns -0.0 into 0.0.
        for row, position in zip(self.point_rows, positions * self.to_lps + 0.0, strict=True):
            for column, value in zip(self.columns, position.tolist(), strict=True):
                rows[row][column] = repr(value)
        stream = io.StringIO()
        stream.write(self.comments)
        csv.writer(stream, lineterminator=self.line_end).writerows(rows)
        return stream.getvalue()


def _read_csv(text: str, name: str) -> _Table:
    comments, rows, line_end = _split_table(text, name)
    used = _used_rows(rows)
    if not used or _has_numbers(rows[used[0]]):
        return _Table(".csv", comments, rows, used, (0, 1, 2), _TO_LPS["LPS"], None, line_end)
    header = _lower(rows[used[0]])
    names = next((names for names in _CSV_COLUMNS if set(names) <= set(header)), None)
    if names is None:
        raise InputError(f"{name}: has no columns x,y,z separated by commas; name them so in its first line.")
    points = used[1:]
    if "defined" in header:
        points = [row for row in points if _cell(rows[row], header.index("defined")) != "0"]
    to_lps = _TO_LPS[_CSV_COLUMNS[names]]
    return _Table(".csv", comments, rows, points, _places(names, header), to_lps, _label(header), line_end)


def _read_fcsv(text: str, name: str) -> _Table:
    comments, rows, line_end = _split_table(text, name)
    system = _comment(comments, "CoordinateSystem")
    if system not in _TO_LPS:
        raise InputError(f"{name}: does not say whether it is RAS or LPS; add '# CoordinateSystem = LPS'.")
    header = _lower((_comment(comments, "columns") or _FCSV_COLUMNS).split(","))
    if not {"x", "y", "z"} <= set(header):
        raise InputError(f"{name}: has no columns x,y,z; save the points again with Slicer.")
    points = [row for row in _used_rows(rows) if _cell(rows[row], _FCSV_STATUS_COLUMN) not in _FCSV_WITHOUT_POSITION]
    places = _places(("x", "y", "z"), header)
    return _Table(".fcsv", comments, rows, points, places, _TO_LPS[system], _label(header), line_end)


def _places(names: tuple[str, ...], header: list[str]) -> tuple[int, ...]:
    """Return the column of each name in the header."""
    return tuple(header.index(name) for name in names)


def _label(header: list[str]) -> int | None:
    return header.index("label") if "label" in header else None


def _split_table(text: str, name: str) -> tuple[str, list[list[str]], str]:
    """Return the comment lines at the top, the rows below, and the line ending."""
    lines = list(io.StringIO(text, newline=""))
    start = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    try:
        rows = list(csv.reader(lines[start:]))
    except csv.Error as error:
        raise InputError(f"{name}: is not a table with commas between its cells; export it again.") from error
    return "".join(lines[:start]), rows, "\r\n" if "\r\n" in text else "\n"


def _used_rows(rows: list[list[str]]) -> list[int]:
    """Return the indices of the rows that are neither empty nor a comment."""
    return [index for index, row in enumerate(rows) if any(row) and not row[0].startswith("#")]


def _comment(comments: str, key: str) -> str | None:
    """Return the value of a comment line ``# key = value``."""
    for line in comments.splitlines():
        found, _, value = line.lstrip("# ").partition("=")
        if found.strip() == key:
            return value.strip()
    return None


def _cell(row: list[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _lower(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _has_numbers(row: list[str]) -> bool:
    try:
        return len([float(cell) for cell in row[:3]]) == 3
    except ValueError:
        return False


@dataclass(frozen=True)
class _Markups:
    """The content of a .mrk.json file."""

    content: dict
    format: str = ".mrk.json"

    def positions(self, name: str) -> np.ndarray:
        """Return the positions of all control points that have one, (N, 3) LPS mm."""
        found = [_position(point, name) * to_lps for point, to_lps in _placed_points(self.content)]
        return np.array(found, dtype=float).reshape(-1, 3) + 0.0

    def labels(self) -> tuple[str, ...]:
        """Return the name of each control point that has a position."""
        return tuple(str(point.get("label", "")) for point, _ in _placed_points(self.content))

    def text(self, positions: np.ndarray) -> str:
        """Render the file's text with other positions, (N, 3) LPS mm."""
        content = copy.deepcopy(self.content)
        for (point, to_lps), position in zip(_placed_points(content), positions, strict=True):
            point["position"] = (position * to_lps + 0.0).tolist()
        return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def _read_markups(text: str, name: str) -> _Markups:
    try:
        content = json.loads(text)
        for markup in content["markups"]:
            _check_markup(markup, name)
        list(_placed_points(content))
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{name}: is not a markups file; save the points again with Slicer.") from error
    return _Markups(content)


def _check_markup(markup: dict, name: str) -> None:
    if markup.get("type") in _MARKUPS_BOXES:
        raise InputError(
            f"{name}: holds a {markup['type']}, which cannot be bent; give points, lines, angles or curves."
        )
    if _system(markup) not in _TO_LPS:
        raise InputError(f"{name}: its coordinateSystem is neither RAS nor LPS; save the points again.")


def _system(markup: dict) -> str:
    """Return the coordinate system of one of a file's markups; as in Slicer, LPS is the default."""
    return markup.get("coordinateSystem", "LPS")


def _placed_points(content: dict) -> Iterator[tuple[dict, tuple[float, ...]]]:
    """Yield the control points that have a position, each with the factors of its coordinates to LPS."""
    for markup in content["markups"]:
        for point in markup.get("controlPoints", []):
            if "position" in point and point.get("positionStatus") not in _MARKUPS_WITHOUT_POSITION:
                yield point, _TO_LPS[_system(markup)]


def _position(point: dict, name: str) -> np.ndarray:
    try:
        position = np.array(point["position"], dtype=float)
    except (ValueError, TypeError):
        position = np.array([])
    if position.shape != (3,) or not np.all(np.isfinite(position)):
        label = point.get("label", "")
        raise InputError(f"{name}: point '{label}' does not hold three coordinates; correct or remove it.")
    return position


def _new_document(wanted: str, labels: tuple[str, ...], path: str | Path) -> _Table | _Markups:
    """Return an empty document of another format than the one read, with rows for the labelled points."""
    if wanted == ".csv":
        rows = [["x", "y", "z", "label"], *(["", "", "", label] for label in labels)]
        return _Table(".csv", "", rows, list(range(1, len(rows))), (0, 1, 2), _TO_LPS["LPS"], 3, "\n")
    if wanted == ".mrk.json":
        points = [{"label": label, "position": []} for label in labels]
        markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
        return _Markups({"markups": [markup]})
    raise InputError(f"{path}: only a list read from .fcsv is written as .fcsv; write .mrk.json or .csv.")
