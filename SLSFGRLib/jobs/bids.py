"""Find the T1-weighted images of a BIDS data set, and name results as BIDS names derivatives.

BIDS: the Brain Imaging Data Structure, https://bids-specification.readthedocs.io, version 1.10.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from ..io.images import image_stem
from ..io.label_table import read_label_table
from ..io.resources import STANDARD_BRAIN, standard_brain_path
from ..version import VERSION
from .cases import REGISTER, SETTINGS, Case, images_of, require_different

DESCRIPTION = "dataset_description.json"
BIDS_VERSION = "1.10.0"
PATTERN = re.compile(r"sub-[A-Za-z0-9]+(_[A-Za-z0-9]+-[A-Za-z0-9+]+)*_T1w\.nii(\.gz)?")
# Where BIDS keeps anatomical images.
PLACES = ("sub-*/anat", "sub-*/ses-*/anat")
# What the data set holds that BIDS has no names for.
IGNORED = ("index.html", "results.csv", "**/*_xfm.h5", "**/*_report.*", "**/*_case.json", "**/*_thumbnail.jpg",
           "**/*_jacobian.nii.gz", "**/*_volumes.csv")  # fmt: skip

README = """Results of slsfgr batch, version {version}, for the T1-weighted images of {folder}.

Look at index.html first: it shows a picture of every case, the worst first. results.csv has a line for each case, with
warnings, overlap, folding and the volumes of the structures. For research use only: not for diagnosis or treatment.
"""


def is_bids(folder: Path) -> bool:
    """Return whether a folder is a BIDS data set."""
    return (folder / DESCRIPTION).is_file()


def cases_of_bids(folder: Path, task: str, common: Mapping[str, object], fixed: Path | None) -> list[Case]:
    """Return a case for each T1-weighted image of a data set.

    :raises InputError: there is none.
    """
    paths = sorted(
        path
        for place in PLACES
        for path in folder.absolute().glob(f"{place}/*_T1w.nii*")
        if PATTERN.fullmatch(path.name)
    )
    if not paths:
        raise InputError(f"{folder}: is a BIDS data set without T1-weighted images (sub-*/anat/*_T1w.nii.gz).")
    settings = SETTINGS[task] | dict(common)
    cases = [
        Case(
            task,
            path.parent.relative_to(folder.absolute()).as_posix(),
            images_of(task, path, fixed),
            settings=settings,
            prefix=f"{image_stem(path).removesuffix('T1w')}",
            names=_derivative_names(image_stem(path).removesuffix("_T1w"), space_name(fixed)),
        )
        for path in paths
    ]
    require_different(cases, [str(path) for path in paths])
    return cases


def space_name(fixed: Path | None) -> str:
    """Return the label of the fixed image's space: letters and digits only."""
    if fixed is None:
        return "T1w"
    if fixed in (Path(STANDARD_BRAIN), standard_brain_path()):
        return "MNI152NLin2009aSym"
    return re.sub(r"[^A-Za-z0-9]", "", image_stem(fixed)) or "fixed"


def _derivative_names(start: str, space: str) -> dict[str, str]:
    """Return what BIDS calls the files of a case.

    :param start: the entities of the image, such as ``sub-01_ses-1``.
    """
    return {
        "warped.nii.gz": f"{start}_space-{space}_desc-warped_T1w.nii.gz",
        "transform.h5": f"{start}_from-T1w_to-{space}_mode-image_xfm.h5",
        "inverse_transform.h5": f"{start}_from-{space}_to-T1w_mode-image_xfm.h5",
        "moving_labels.nii.gz": f"{start}_desc-slsfgr_dseg.nii.gz",
        "labels.nii.gz": f"{start}_desc-slsfgr_dseg.nii.gz",
        "fixed_labels.nii.gz": f"{start}_space-{space}_desc-fixed_dseg.nii.gz",
        "jacobian.nii.gz": f"{start}_space-{space}_jacobian.nii.gz",
    }


def write_data_set(folder: Path, output: Path, task: str, fixed: Path | None) -> None:
    """Write what describes the derivatives as a whole: their origin, label numbers, and what is not BIDS.

    :param folder: the data set that they are made from.
    """
    source = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8-sig"))
    description = {
        "Name": f"{source.get('Name', folder.name)}: {'registered' if task == REGISTER else 'segmented'} by SLSFGR",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "SLSFGR", "Version": VERSION}],
        "SourceDatasets": [{"URL": folder.resolve().as_uri()}],
    }
    output.mkdir(parents=True, exist_ok=True)
    _write_json(output / DESCRIPTION, description)
    (output / ".bidsignore").write_text("\n".join(IGNORED) + "\n", encoding="utf-8")
    (output / "README").write_text(README.format(folder=folder.resolve(), version=VERSION), encoding="utf-8")
    with (output / "desc-slsfgr_dseg.tsv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", "name", "color"])
        writer.writerows([row.number, row.name, "#{:02x}{:02x}{:02x}".format(*row.color)] for row in read_label_table())
    _write_sidecars(output, task, fixed)


def _write_sidecars(output: Path, task: str, fixed: Path | None) -> None:
    """Write what all files of a kind have in common, at the top: lower files inherit it."""
    _write_json(output / "desc-slsfgr_dseg.json", {"Manual": False})
    if task == REGISTER:
        space = space_name(fixed)
        reference = {"SpatialReference": str(fixed if fixed.exists() else standard_brain_path())}
        _write_json(output / f"space-{space}_desc-warped_T1w.json", {"SkullStripped": False} | reference)
        _write_json(output / f"space-{space}_desc-fixed_dseg.json", {"Manual": False} | reference)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
