"""Writing the results of a registration into a folder."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..io.images import smallest_label_type, write_image
from ..io.transforms import write_transform
from ..segmentation.volumes import volumes
from .html import html_report

if TYPE_CHECKING:
    from ..registration.result import RegistrationResult

THUMBNAIL = "thumbnail.jpg"
NO_PICTURES = "The report has no pictures, because the package Pillow is not installed: pip install pillow."


def write_results(
    result: RegistrationResult,
    fixed: sitk.Image,
    moving: sitk.Image,
    folder: Path,
    *,
    fixed_name: str | None = None,
    moving_name: str | None = None,
    thumbnail: bool = False,
) -> dict:
    """Write the images, the transforms and the report of a registration.

    :param fixed_name: what the report calls the fixed image, such as its path; likewise ``moving_name``.
    :param thumbnail: also draw a small picture, for a page of many registrations.
    :returns: the report as it was written.
    """
    with ThreadPoolExecutor() as pool:
        # SimpleITK compresses on one core; meanwhile the other one draws.
        writing = [pool.submit(write, result, folder) for write in (_write_transforms, _write_images)]
        report, page = report_and_page(result, fixed, moving, fixed_name, moving_name)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
        if thumbnail:
            _write_thumbnail("outline_thumbnail", fixed, result.warped, folder)
        for future in writing:
            future.result()
    return report


def report_and_page(
    result: RegistrationResult,
    fixed: sitk.Image,
    moving: sitk.Image,
    fixed_name: str | None,
    moving_name: str | None,
) -> tuple[dict, str]:
    """Return the report of a registration with the images' names, and its page with pictures in HTML."""
    pictures = _pictures(result, fixed, moving)
    notes = list(result.report.get("notes", [])) + ([] if pictures else [NO_PICTURES])
    report = {"fixed": fixed_name, "moving": moving_name} | result.report | {"notes": notes}
    return report, html_report(report, pictures)


def write_segmentation(labels: sitk.Image, image: sitk.Image, report: dict, folder: Path) -> dict:
    """Write the label map, the volumes, the report and a small picture of a segmentation; return the report."""
    write_image(labels, folder / "labels.nii.gz")
    write_volumes(labels, folder / "volumes.csv")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _write_thumbnail("labels_thumbnail", image, labels, folder)
    return report


def write_warped_case(result: RegistrationResult, template: sitk.Image, folder: Path) -> None:
    """Write an image's part of a group template: transforms, the warped image and labels, and a small picture.

    :param result: of the registration of the image to the template, which is fixed.
    """
    _write_transforms(result, folder)
    write_image(result.warped, folder / "warped.nii.gz")
    if result.fixed_labels is not None:
        write_image(smallest_label_type(result.fixed_labels), folder / "warped_labels.nii.gz")
    _write_thumbnail("outline_thumbnail", template, result.warped, folder)


def write_volumes(labels: sitk.Image, table: Path) -> None:
    """Write the volume of each structure of a label map in mm3."""
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["number", "name", "volume_mm3"])
        writer.writerows([row.number, row.name, f"{row.volume_mm3:.1f}"] for row in volumes(labels))


def _write_thumbnail(kind: str, image: sitk.Image, other: sitk.Image, folder: Path) -> None:
    """Draw a small picture, or none where Pillow is not installed."""
    pictures = pictures_module()
    if pictures is not None:
        (folder / THUMBNAIL).write_bytes(getattr(pictures, kind)(image, other))


def _write_transforms(result: RegistrationResult, folder: Path) -> None:
    write_transform(result.transform, folder / "transform.h5")
    write_transform(result.inverse_transform, folder / "inverse_transform.h5")


def _write_images(result: RegistrationResult, folder: Path) -> None:
    write_image(result.warped, folder / "warped.nii.gz")
    for name in ("fixed_labels", "moving_labels"):
        labels = getattr(result, name)
        if labels is not None:
            write_image(smallest_label_type(labels), folder / f"{name}.nii.gz")


def _pictures(result: RegistrationResult, fixed: sitk.Image, moving: sitk.Image) -> dict[str, bytes]:
    """Draw the pictures, or none where Pillow is not installed."""
    pictures = pictures_module()
    if pictures is None:
        return {}
    return pictures.overview(fixed, moving, result.warped, None if result.transform.IsLinear() else result.transform)


def pictures_module() -> ModuleType | None:
    """Return what draws, or None where Pillow is not installed."""
    try:
        pictures = import_module(".pictures", __package__)
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        return None
    return pictures
