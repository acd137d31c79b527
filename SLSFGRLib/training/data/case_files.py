"""Files of cases for weak supervision: two images, and label files that correspond.

A **folder** holds one folder for each case, and in each of these ``moving`` and ``fixed``, the two images, and any
number of pairs of label files, ``moving_NAME`` and ``fixed_NAME``, of any kind that
:mod:`SLSFGRLib.training.data.label_files` reads; a file without a partner is left out.

A **table** is a .csv file with the columns ``moving``, ``fixed``, ``moving_labels`` and ``fixed_labels``, one row for
each case; several label files of a case are separated by semicolons and correspond in their order. Names are relative
to the table.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...io.images import IMAGE_ENDINGS

COLUMNS = ("moving", "fixed", "moving_labels", "fixed_labels")
LABEL_ENDINGS = (*IMAGE_ENDINGS, ".seg.nrrd", ".csv", ".fcsv", ".mrk.json")


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    :param name: for messages.
    :param labels: pairs of files, the moving image's and the fixed one's.
    """

    name: str
    moving: Path
    fixed: Path
    labels: tuple[tuple[Path, Path], ...]


def find_cases(paths: list[Path]) -> list[CaseFiles]:
    """Return the cases in tables and folders.

    :raises InputError: one is neither, or a case lacks an image or labels.
    """
    return [case for path in paths for case in (_from_folder(path) if path.is_dir() else _from_table(path))]


def _from_folder(folder: Path) -> list[CaseFiles]:
    cases = [_from_case_folder(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()]
    if not cases:
        raise InputError(f"{folder}: holds no folders with cases; give each case a folder with its files.")
    return cases


def _from_case_folder(folder: Path) -> CaseFiles:
    files = {_stem(path): path for path in sorted(folder.iterdir()) if _stem(path)}
    for role in ("moving", "fixed"):
        if role not in files or not files[role].name.lower().endswith(IMAGE_ENDINGS):
            raise InputError(f"{folder}: holds no image named {role}, such as {role}.nii.gz; add it.")
    names = [stem.removeprefix("moving_") for stem in files if stem.startswith("moving_")]
    pairs = [(files[f"moving_{name}"], files[f"fixed_{name}"]) for name in names if f"fixed_{name}" in files]
    if not pairs:
        raise InputError(f"{folder}: holds no two label files named moving_NAME and fixed_NAME; add them.")
    return CaseFiles(str(folder), files["moving"], files["fixed"], tuple(pairs))


def _stem(path: Path) -> str:
    """Return a file's name without its ending; empty if the ending is of no use here."""
    endings = [ending for ending in LABEL_ENDINGS if path.name.lower().endswith(ending)]
    return path.name[: -max(map(len, endings))] if endings else ""


def _from_table(path: Path) -> list[CaseFiles]:
    if not path.name.lower().endswith(".csv"):
        raise InputError(f"{path}: is neither a folder nor a table (.csv) of cases; give one of the two.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows, columns = list(reader), reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is not a table in UTF-8 with commas; export it again.") from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; it needs {', '.join(COLUMNS)}.")
    cases = [_from_row(row, f"{path}, line {line}", path.parent) for line, row in enumerate(rows, start=2)]
    if not cases:
        raise InputError(f"{path}: holds no case; add a line for each.")
    return cases


def _from_row(row: dict[str, str | None], name: str, folder: Path) -> CaseFiles:
    files = {
        column: [folder / part.strip() for part in (row[column] or "").split(";") if part.strip()] for column in COLUMNS
    }
    for role in ("moving", "fixed"):
        if len(files[role]) != 1:
            raise InputError(f"{name}: names {len(files[role])} images as {role}; name one.")
    counts = [len(files[column]) for column in ("moving_labels", "fixed_labels")]
    if counts[0] != counts[1] or not counts[0]:
        raise InputError(
            f"{name}: names {counts[0]} label files for the moving and {counts[1]} for the fixed image; "
            "as many are needed for both, at least one."
        )
    labels = tuple(zip(files["moving_labels"], files["fixed_labels"], strict=True))
    return CaseFiles(name, files["moving"][0], files["fixed"][0], labels)
