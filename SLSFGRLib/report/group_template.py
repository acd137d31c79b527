"""The report of a group template: its pictures, how it came about, and its images, the worst first."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from ..io.images import read_image
from ..io.resources import resource_path
from .batch import case_cards, worst_first
from .results import NO_PICTURES, pictures_module

PAGE, REPORT = "report.html", "report.json"
FIGURE = Template('<figure><img alt="The template in three planes" src="data:image/png;base64,$data"></figure>')
ROUND = Template("<tr><td>$name</td><td>$mode</td><td>$sharpness</td><td>$displacement</td></tr>")
NOTE = Template("<li>$note</li>")


def write_group_report(report: dict, output: Path, staging: Path) -> None:
    """Write ``report.json`` and ``report.html``.

    :param report: as in ``report.json``; its ``cases`` are put in order, the worst first.
    :param output: the folder of the template, in which the images' results lie.
    :param staging: holds the template's own files, and gets those of the report.
    """
    report["cases"] = worst_first(report["cases"])
    picture = _picture(staging)
    if picture is None:
        report["notes"].append(NO_PICTURES)
    (staging / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (staging / PAGE).write_text(group_page(report, picture, output), encoding="utf-8")


def group_page(report: Mapping, picture: bytes | None, output: Path) -> str:
    """Return the page of a group template.

    :param report: as in ``report.json``, with the worst image first.
    :param picture: a PNG file of the template.
    """
    failed = report["images"] - report["used"]
    size = " \u00d7 ".join(str(count) for count in report["size"])
    left_out = f", {failed} failed and left out" if failed else ""
    summary = f"{report['used']} images{left_out}. {size} voxels of {report['spacing_mm']:g} mm. Mode {report['mode']}."
    return Template(resource_path("report", "group_template.html").read_text(encoding="utf-8")).substitute(
        summary=escape(summary),
        notes="\n".join(NOTE.substitute(note=escape(note)) for note in report["notes"]),
        figure="" if picture is None else FIGURE.substitute(data=base64.b64encode(picture).decode("ascii")),
        rounds=_rounds(report),
        cases=case_cards(report["cases"], output),
    )


def _picture(folder: Path) -> bytes | None:
    """Draw the template that lies in a folder; None where Pillow is not installed."""
    pictures = pictures_module()
    if pictures is None:
        return None
    labels = folder / "template_labels.nii.gz"
    return pictures.template_picture(
        read_image(folder / "template.nii.gz"),
        read_image(folder / "affine_average.nii.gz"),
        read_image(labels) if labels.is_file() else None,
    )


def _rounds(report: Mapping) -> str:
    """Return the rows of the table of rounds; sharpness is relative to the first."""
    first = report["rounds"][0]["sharpness"]
    lines = [
        ("affine" if not of_round["round"] else f"round {of_round['round']}", of_round["mode"], of_round["sharpness"],
         of_round["mean_displacement_mm"])
        for of_round in report["rounds"]
    ]  # fmt: skip
    lines += [
        ("template", "each image resampled once", report["sharpness"], None),
        ("one image", "mean of all", report["sharpness_of_one_image"], None),
    ]
    return "\n".join(
        ROUND.substitute(
            name=name,
            mode=mode,
            sharpness=f"{value / first:.2f}",
            displacement="\u2013" if distance is None else f"{distance:.3f}",
        )
        for name, mode, value, distance in lines
    )
