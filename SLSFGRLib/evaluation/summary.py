"""The most important results of a report in one line, and its notes."""

from __future__ import annotations

from collections.abc import Mapping


def summary(report: Mapping) -> str:
    """Return overlap or similarity before and after, folding, seconds and device in one line.

    Why the transform is rigid or deformable follows, and the notes.

    :param report: as in ``report.json``; for a segmentation without registration, ``volumes_ml`` gives the number of
        structures.
    """
    reason = report.get("transform_reason")
    choice = [f"{report['transform'].capitalize()}: {reason}"] if reason else []
    return "\n".join([_measurements(report), *choice, *report.get("notes", [])])


def _measurements(report: Mapping) -> str:
    parts = [f"{report['seconds']['total']:.1f} s", report["device"].partition(" ")[0].upper()]
    if "folding_percent" in report:
        parts.insert(0, f"folding {report['folding_percent']:.2g} %")
    for name, title in (("dice", "Dice"), ("similarity", "Similarity (LNCC)")):
        if report.get(f"{name}_after") is not None:
            return " · ".join([f"{title} {report[f'{name}_before']:.2f} → {report[f'{name}_after']:.2f}", *parts])
    structures = {name for column in report["volumes_ml"].values() for name, volume in column.items() if volume}
    return " · ".join([f"{len(structures)} structures", *parts])
