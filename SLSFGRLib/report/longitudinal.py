"""Write the results of a follow-up: images, a table and a page."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Protocol

import SimpleITK as sitk

from ..io.images import image_stem, smallest_label_type, write_image
from ..io.label_table import read_label_table
from ..io.resources import resource_path
from ..io.transforms import write_transform
from .results import pictures_module


class Date(Protocol):
    """One scan of a follow-up; see :class:`SLSFGRLib.jobs.longitudinal.Date`."""

    name: str
    resampled: sitk.Image
    transform: sitk.Transform
    jacobian: sitk.Image
    volumes_ml: dict[str, float]


class FollowUp(Protocol):
    """The result of a follow-up; see :class:`SLSFGRLib.jobs.longitudinal.FollowUp`."""

    mean: sitk.Image
    labels: sitk.Image
    dates: Sequence[Date]
    report: dict


def write_follow_up(result: FollowUp, folder: Path) -> list[str]:
    """Write everything about a follow-up; return the names of the files."""
    titles = [f"{number}_{image_stem(Path(date.name))}" for number, date in enumerate(result.dates, start=1)]
    write_image(result.mean, folder / "mean.nii.gz")
    write_image(smallest_label_type(result.labels), folder / "labels.nii.gz")
    for title, date in zip(titles, result.dates, strict=True):
        write_image(date.resampled, folder / f"{title}_resampled.nii.gz")
        change = 100.0 * (date.jacobian / result.dates[0].jacobian - 1.0)
        write_image(sitk.Cast(change, sitk.sitkFloat32), folder / f"{title}_change.nii.gz")
        write_transform(date.transform, folder / f"{title}_transform.h5")
    rows = volume_rows(result)
    _write_table(rows, titles, folder / "volumes.csv")
    (folder / "report.json").write_text(json.dumps(result.report, indent=2) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(_page(result, rows, titles), encoding="utf-8")
    return sorted(path.name for path in folder.iterdir())


def volume_rows(result: FollowUp) -> list[tuple[str, list[float], list[float]]]:
    """Return name, volumes in mL and changes since the first date in percent of each structure, the brain first."""
    rows = []
    for name in result.dates[0].volumes_ml:
        volumes = [date.volumes_ml[name] for date in result.dates]
        rows.append((name, volumes, [100.0 * (volume / volumes[0] - 1.0) for volume in volumes]))
    return rows


def _write_table(rows: list[tuple[str, list[float], list[float]]], titles: list[str], path: Path) -> None:
    numbers = {item.name: item.number for item in read_label_table()}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["number", "name", *(f"{title} (mL)" for title in titles), *(f"{title} (change %)" for title in titles[1:])]
        )
        for name, volumes, changes in rows:
            number = numbers.get(name, "")
            writer.writerow([number, name, *(f"{v:.4f}" for v in volumes), *(f"{c:.3f}" for c in changes[1:])])


def _page(result: FollowUp, rows: list[tuple[str, list[float], list[float]]], titles: list[str]) -> str:
    heads = [f"{title}, mL" for title in titles] + [f"change to {title}" for title in titles[1:]]
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{volume:.2f}</td>" for volume in volumes)
        + "".join(f"<td>{change:+.2f}\u00a0%</td>" for change in changes[1:])
        + "</tr>"
        for name, volumes, changes in rows
    )
    return Template(resource_path("report", "longitudinal.html").read_text(encoding="utf-8")).substitute(
        images="".join(f"<li>{escape(date.name)}</li>" for date in result.dates),
        notes="".join(f"<li>{escape(note)}</li>" for note in result.report["notes"]),
        picture=_picture(result),
        heads="".join(f'<th scope="col">{escape(head)}</th>' for head in heads),
        rows=body,
        seconds=f"{result.report['seconds']['total']:.0f}",
        device=escape(result.report["device"]),
        version=escape(result.report["versions"]["slsfgr"]),
    )


def _picture(result: FollowUp) -> str:
    """Return the structures on the mean as an image of the page; nothing where Pillow is not installed."""
    pictures = pictures_module()
    if pictures is None:
        return ""
    data = base64.b64encode(pictures.labels_thumbnail(result.mean, result.labels)).decode("ascii")
    return f'<img alt="The structures" src="data:image/jpeg;base64,{data}">'
