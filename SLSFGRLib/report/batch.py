"""The table and the page of a batch: one line and one small picture for each case, the worst first."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from ..io.resources import resource_path
from ..io.staging import staged_file

TABLE, PAGE = "results.csv", "index.html"
# What the table begins with; other columns follow in the order in which cases have them.
FIRST = ("name", "status", "problem", "warnings")
FAILED = "failed"
CASE = Template("<article$kind>$picture<h2>$name</h2><p>$figures</p>$warnings</article>")

Row = Mapping[str, object]


def write_summary(rows: Sequence[Row], title: str, output: Path) -> None:
    """Write ``results.csv`` and ``index.html`` into the folder of a batch.

    :param rows: one for each case: ``name``, ``folder``, ``report`` and ``thumbnail`` (files in the folder),
        ``status``, ``problem``, ``warnings`` and figures.
    :param title: what was done, for the page's head.
    """
    ordered = worst_first(rows)
    with staged_file(output / TABLE) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _columns(ordered), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in ordered)
    with staged_file(output / PAGE) as path:
        path.write_text(batch_page(ordered, title, output), encoding="utf-8")


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return the failed cases first, then those that most probably went wrong.

    Registrations are ordered by the Dice, without one by the similarity; segmentations by how unusual the volume of
    all structures is.
    """
    unusual = _unusual_volumes(rows)

    def badness(number: int) -> tuple:
        row = rows[number]
        quality = row.get("dice_after", row.get("similarity_after"))
        return (row["status"] != FAILED, -unusual[number] if quality is None else float(quality), str(row["name"]))

    return [rows[number] for number in sorted(range(len(rows)), key=badness)]


def _unusual_volumes(rows: Sequence[Row]) -> list[float]:
    """Return how far each case's volume of all structures lies from the median, in robust standard deviations."""
    totals = np.array([sum(v for k, v in row.items() if k.startswith("image: ")) or np.nan for row in rows], float)
    if np.isnan(totals).all():
        return [0.0] * len(rows)
    distances = np.abs(totals - np.nanmedian(totals))
    # 1.4826 times the median absolute deviation is the standard deviation of a normal distribution.
    return np.nan_to_num(distances / max(1.4826 * np.nanmedian(distances), 1e-6)).tolist()


def _columns(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(FIRST) | {name: None for row in rows for name in row}
    return [name for name in names if name not in ("folder", "report", "thumbnail")]


def batch_page(rows: Sequence[Row], title: str, output: Path) -> str:
    """Return the page; it shows the pictures of the cases' folders, so it works where these are."""
    failed = sum(row["status"] == FAILED for row in rows)
    summary = f"{len(rows)} cases, {failed} failed. The worst come first: failed ones, then the lowest overlap."
    if rows and not any("dice_after" in row or "similarity_after" in row for row in rows):
        summary = f"{len(rows)} cases, {failed} failed. Failed ones come first, then the most unusual volumes."
    return Template(resource_path("report", "batch.html").read_text(encoding="utf-8")).substitute(
        title=escape(title), summary=escape(summary), cases=case_cards(rows, output)
    )


def case_cards(rows: Sequence[Row], output: Path) -> str:
    """Return a card in HTML for each case: its picture, figures and warnings.

    :param output: the folder of the page.
    """
    return "\n".join(_case(row, output) for row in rows)


def _case(row: Row, output: Path) -> str:
    link, picture = (_address(row, name, output) for name in ("report", "thumbnail"))
    image = f'<img loading="lazy" alt="" src="{picture}">' if picture else '<span class="none">no picture</span>'
    name = escape(str(row["name"]))
    warnings = row["problem"] or row.get("warnings")
    return CASE.substitute(
        kind=' class="failed"' if row["status"] == FAILED else "",
        picture=f'<a href="{link}">{image}</a>' if link else image,
        name=f'<a href="{link}">{name}</a>' if link else name,
        figures=escape(_figures(row)),
        warnings=f'<p class="note">{escape(str(warnings))}</p>' if warnings else "",
    )


def _address(row: Row, name: str, output: Path) -> str:
    """Return the address of one of a case's files, relative to the page; empty if it is not there."""
    path = f"{row['folder']}/{row.get(name, '')}"
    return quote(path) if row["status"] != FAILED and row.get(name) and (output / path).is_file() else ""


def _figures(row: Row) -> str:
    parts = []
    for key, text in (
        ("dice_after", "Dice {:.2f}"),
        ("similarity_after", "similarity {:.2f}"),
        ("folding_percent", "folding {:.2g} %"),
        ("seconds", "{:.0f} s"),
    ):
        if row.get(key) is not None and not (key == "similarity_after" and "dice_after" in row):
            parts.append(text.format(float(row[key])))
    return " · ".join([str(row["status"]), *([str(row["transform"])] if row.get("transform") else []), *parts])
