"""The figures of a report that matter most, in one line, and what the user should know."""

from __future__ import annotations

from collections.abc import Mapping


def summary(report: Mapping) -> str:
    """How good a result is and what it took: likeness before and after, folding, seconds, device; notes below.

    :param report: figures as in ``report.json``; of segmentations alone, ``volumes_ml`` tells what was found.
    """
    return "\n".join([_figures(report), *report.get("notes", [])])


def _figures(report: Mapping) -> str:
    parts = [f"{report['seconds']['total']:.1f} s", report["device"].partition(" ")[0].upper()]
    if "folding_percent" in report:
        parts.insert(0, f"folding {report['folding_percent']:.2g} %")
    for name, title in (("dice", "Dice"), ("similarity", "Similarity")):
        if report.get(f"{name}_after") is not None:
            return " · ".join([f"{title} {report[f'{name}_before']:.2f} → {report[f'{name}_after']:.2f}", *parts])
    found = {name for column in report["volumes_ml"].values() for name, volume in column.items() if volume}
    return " · ".join([f"{len(found)} structures", *parts])
