"""What a finished case of a batch leaves, so that a later run knows whether it must be done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import SimpleITK as sitk

from ..version import VERSION
from .cases import Case

RECORD = "case.json"


def fingerprint(case: Case) -> dict:
    """Return what the results of a case depend on: version, settings, and each input with its size and time.

    :raises OSError: an input is not there.
    """
    inputs = {role: _state(image) for role, image in (case.images | dict(case.files)).items()}
    model = Path(str(case.settings.get("model", "")))
    if model.is_file():
        inputs["model"] = _state(model)
    return {"task": case.task, "version": VERSION, "settings": dict(case.settings), "inputs": inputs}


def _state(image: Path | sitk.Image) -> dict:
    if isinstance(image, sitk.Image):
        content = hashlib.sha256(sitk.GetArrayViewFromImage(image).tobytes())
        content.update(repr((image.GetOrigin(), image.GetSpacing(), image.GetDirection())).encode())
        return {"sha256": content.hexdigest()}
    status = image.stat()
    # A DICOM series is a folder: its time changes with the names in it.
    size = status.st_size if image.is_file() else len(list(image.iterdir()))
    return {"path": str(image.resolve()), "size": size, "changed_ns": status.st_mtime_ns}


def write_record(case: Case, depends_on: Mapping, row: Mapping, folder: Path) -> None:
    """Write the record of a case beside its results.

    :param depends_on: its fingerprint before work began.
    :param row: its line in the table of results.
    :param folder: with all of its results, under their final names.
    """
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    content = dict(depends_on) | {"outputs": sizes, "row": dict(row)}
    (folder / case.file_name(RECORD)).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def finished_row(case: Case, output: Path) -> tuple[dict | None, str]:
    """Return a case's line in the table of results if it is done already, or None and why it must be done again.

    :returns: the reason is empty if it was never done.
    """
    folder = output / case.name
    try:
        record = json.loads((folder / case.file_name(RECORD)).read_text(encoding="utf-8"))
        outputs, row = record["outputs"], record["row"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
    current = fingerprint(case)
    if record.get("version") != current["version"]:
        return None, f"it was done by version {record.get('version')}"
    if any(record.get(key) != current[key] for key in ("task", "settings")):
        return None, "its settings changed"
    if record.get("inputs") != current["inputs"]:
        return None, "its inputs changed"
    missing = [name for name, size in outputs.items() if _size(folder / name) != size]
    return (None, f"{missing[0]} is missing or was changed") if missing else (row, "")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
