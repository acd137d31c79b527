"""Writing the results of a registration into a folder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..io.images import smallest_label_type, write_image
from ..io.transforms import write_transform
from ..spatial.resampling import resample_image
from .html import html_report

if TYPE_CHECKING:
    from ..registration.result import RegistrationResult

NO_PICTURES = "The report has no pictures, because the package Pillow is not installed: pip install pillow."


def write_results(
    result: RegistrationResult,
    fixed: sitk.Image,
    moving: sitk.Image,
    folder: Path,
    *,
    fixed_name: str | None = None,
    moving_name: str | None = None,
) -> dict:
    """Write the images, the transforms and the report of a registration.

    :param fixed_name: what the report calls the fixed image, such as its path; likewise ``moving_name``.
    :returns: the report as it was written.
    """
    with ThreadPoolExecutor() as pool:
        # SimpleITK compresses on one core; meanwhile the other one draws.
        writing = [pool.submit(write, result, folder) for write in (_write_transforms, _write_images)]
        report, page = report_and_page(result, fixed, moving, fixed_name, moving_name)
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
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
    try:
        from .pictures import overview
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        return {}
    before = resample_image(moving, fixed, sitk.Transform(3, sitk.sitkIdentity))
    return overview(fixed, before, result.warped, None if result.transform.IsLinear() else result.transform)
