"""The cases of a batch or a template: from a table, a folder or a BIDS data set, all checked before work begins."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import SimpleITK as sitk

from ..errors import InputError
from ..io.images import IMAGE_ENDINGS, image_stem
from ..io.resources import STANDARD_BRAIN, image_path
from ..modes import AUTO, DEFAULT_MODE, MODES, TRANSFORMS
from .job import REGIONS

REGISTER, SEGMENT, TEMPLATE = "register", "segment", "template"
# The images that each task needs, by the names of the table's columns.
IMAGES = {REGISTER: ("fixed", "moving"), SEGMENT: ("image",), TEMPLATE: ("image",)}
NAME = "name"
# Other columns that name files, and those with settings and their defaults.
FILES = {REGISTER: ("initial_transform", "moving_labels", *REGIONS), SEGMENT: (), TEMPLATE: ("labels",)}
SETTINGS: dict[str, dict[str, object]] = {
    REGISTER: {
        "mode": DEFAULT_MODE,
        "transform": AUTO,
        "device": "auto",
        "model": "",
        "no_affine": False,
        "jacobian": False,
    },
    SEGMENT: {"device": "auto", "model": ""},
    # All images of a template are treated alike.
    TEMPLATE: {},
}
CHOICES = {"mode": MODES, "transform": TRANSFORMS}
# The fewest images that have a mean.
MIN_IMAGES = 2
YES, NO = ("yes", "true", "1"), ("no", "false", "0", "")


@dataclass(frozen=True)
class Case:
    """One registration or segmentation of a batch, one image of a template, or one step of work on it.

    :param name: its folder below that of the batch, with ``/`` between folders.
    :param images: the images it needs by their role, as files; the fixed one may be an image in memory.
    :param files: further files by the option that takes them.
    :param settings: all of :data:`SETTINGS` of its task.
    :param prefix: what the names of its files begin with; empty for a folder of its own.
    :param names: the names of files that have others than :mod:`SLSFGRLib.report.results` gives them.
    """

    task: str
    name: str
    images: Mapping[str, Path | sitk.Image]
    files: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What no other case of a batch has: where its files lie."""
        return self.name, self.prefix

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.prefix.rstrip("_") or self.name

    def file_name(self, name: str) -> str:
        """Return the name of an output file in the case's folder."""
        return self.names.get(name, f"{self.prefix}{name}")


def cases_of_table(path: Path, task: str, common: Mapping[str, object], fixed: Path | None = None) -> list[Case]:
    """Read a table with one line for each case.

    :param common: settings for all cases; a column of the table replaces them.
    :param fixed: the fixed image of all cases.
    :raises InputError: the table or a case cannot be used; the message gives the line.
    """
    columns, rows = _rows(path)
    needed = [column for column in IMAGES[task] if not (column == "fixed" and fixed is not None)]
    known = {*IMAGES[task], NAME, *FILES[task], *SETTINGS[task]}
    for column in needed:
        if column not in columns:
            raise InputError(f"{path}, line 1: has no column {column!r}; it needs {' and '.join(needed)}.")
    for column in columns:
        if column not in known:
            raise InputError(f"{path}, line 1: has an unknown column {column!r}; known are {', '.join(sorted(known))}.")
    if not rows:
        raise InputError(f"{path}: holds no case; add a line for each.")
    if fixed is not None and "fixed" in columns:
        raise InputError(f"{path}, line 1: has a column 'fixed', and --fixed is given, too; remove one of them.")
    one_fixed = fixed is not None or len({row["fixed"] for _, row in rows if "fixed" in row}) <= 1
    cases, lines = [], []
    for line, row in rows:
        where = f"{path}, line {line}"
        cases.append(_case_of_row(row, where, task, common, path.parent, fixed, one_fixed))
        lines.append(where)
    require_different(cases, lines)
    if task == TEMPLATE:
        _require_labels_of_all(cases, lines)
    return cases


def cases_of_folder(
    folder: Path, task: str, common: Mapping[str, object], fixed: Path | sitk.Image | None
) -> list[Case]:
    """Return a case for each image file that lies in a folder.

    :raises InputError: there is none, or two have the same name without their endings.
    """
    paths = sorted(
        path for path in folder.absolute().iterdir() if path.name.lower().endswith(IMAGE_ENDINGS) and path.is_file()
    )
    if not paths:
        raise InputError(f"{folder}: holds no images; give a folder with images, a BIDS data set or a table (.csv).")
    settings = SETTINGS[task] | dict(common)
    cases = [Case(task, image_stem(path), images_of(task, path, fixed), settings=settings) for path in paths]
    require_different(cases, [str(path) for path in paths])
    return cases


def images_of(task: str, path: Path, fixed: Path | sitk.Image | None) -> dict[str, Path | sitk.Image]:
    """Return the images of a case by role."""
    return {"fixed": fixed, "moving": path} if task == REGISTER else {"image": path}


def require_different(cases: list[Case], lines: list[str]) -> None:
    """Refuse two cases that are the same, or that would write the same files.

    :param lines: where each case comes from.
    """
    by_content: dict[tuple, str] = {}
    by_output: dict[tuple, str] = {}
    for case, line in zip(cases, lines, strict=True):
        inputs = tuple(
            (role, str(image) if isinstance(image, Path) else id(image)) for role, image in case.images.items()
        )
        content = (inputs, str(case.files), str(case.settings))
        if content in by_content:
            raise InputError(f"{line}: is the same case as {by_content[content]}; remove one of them.")
        output = (case.name.casefold(), case.prefix.casefold())
        if output in by_output:
            raise InputError(
                f"{line}: would have the same output, {case.name!r}, as {by_output[output]}; give both a name of "
                "their own (column 'name')."
            )
        by_content[content] = by_output[output] = line


def require_group(cases: Sequence[Case]) -> None:
    """Refuse a single image where a mean is wanted.

    :raises InputError: there are fewer than two images.
    """
    if len(cases) < MIN_IMAGES:
        raise InputError(f"a template needs at least {MIN_IMAGES} images; there is {len(cases)}.")


def _require_labels_of_all(cases: Sequence[Case], lines: Sequence[str]) -> None:
    """Refuse label maps of some images only: the others would count as background."""
    with_labels = sum("labels" in case.files for case in cases)
    for case, line in zip(cases, lines, strict=True):
        if with_labels and "labels" not in case.files:
            raise InputError(f"{line}: names no labels, but other images have some; fill the cell, or remove all.")


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a table and its lines that are not empty, with their numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            columns = [name.strip().lower().replace("-", "_") for name in next(reader, [])]
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the name.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a table in UTF-8 with commas; export it again.") from error
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"{path}, line 1: has two columns {column!r}; remove one of them.")
    rows = [(line, cells) for line, cells in lines if any(cells)]
    for line, cells in rows:
        if len(cells) > len(columns):
            raise InputError(f"{path}, line {line}: has {len(cells)} cells, but line 1 names {len(columns)} columns.")
    return columns, [(line, dict(zip(columns, cells, strict=False))) for line, cells in rows]


def _case_of_row(
    row: Mapping[str, str],
    where: str,
    task: str,
    common: Mapping[str, object],
    folder: Path,
    fixed: Path | None,
    one_fixed: bool,
) -> Case:
    """Return the case of a line, with each of its files and settings checked."""
    images = {}
    for role in IMAGES[task]:
        if role == "fixed" and fixed is not None:
            images[role] = fixed
        elif not row.get(role):
            raise InputError(f"{where}: names no {role} image; fill the cell.")
        else:
            images[role] = _existing(row[role], folder, f"{where}, {role}", STANDARD_BRAIN if role == "fixed" else "")
    files = {name: _existing(row[name], folder, f"{where}, {name}") for name in FILES[task] if row.get(name)}
    settings = SETTINGS[task] | dict(common)
    settings |= {name: setting(name, row[name], where) for name in SETTINGS[task] if row.get(name)}
    if row.get("model") and (folder / row["model"]).is_file():
        settings["model"] = str(folder / row["model"])
    stems = [image_stem(path) for path in images.values()]
    name = row.get(NAME) or (stems[-1] if one_fixed else f"{stems[-1]}_to_{stems[0]}")
    return Case(task, _checked_name(name, where), images, files, settings)


def _existing(cell: str, folder: Path, where: str, word: str = "") -> Path:
    """Return the path that a cell names, relative to the table's folder.

    :param word: one that stands for a bundled image.
    """
    path = (folder / cell).absolute()
    if word and cell == word and not path.exists():
        return image_path(Path(cell))
    if not path.exists():
        raise InputError(f"{where}: there is no file {path}; check the name, which is relative to the table.")
    return path


def setting(name: str, text: str, where: str) -> object:
    """Return the value of a setting from a text.

    :raises InputError: the text is none of its values.
    """
    choices = CHOICES.get(name)
    if choices and text not in choices:
        raise InputError(f"{where}: {name} is {text!r}; it can be {', '.join(choices)}.")
    if not isinstance(SETTINGS[REGISTER].get(name), bool):
        return text
    if text.lower() not in YES + NO:
        raise InputError(f"{where}: {name} is {text!r}; it can be yes or no.")
    return text.lower() in YES


def _checked_name(name: str, where: str) -> str:
    """Return the name of a folder below the output folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in name:
        raise InputError(f"{where}: its name is {name!r}; give the name of a folder below the output folder.")
    return str(path)
