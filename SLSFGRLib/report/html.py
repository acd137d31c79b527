"""One page that shows a registration's pictures and figures, complete in one file."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from html import escape

PICTURE_TEXTS = {
    "before_after": (
        "Before and after",
        "The fixed brain, and the moving brain before and after registration. The last row should have the shape "
        "of the first. R and L are the patient's right and left, A and P front and back.",
    ),
    "outline": (
        "Borders",
        "Borders of the fixed brain, in orange, over the moving brain. After registration they should follow the "
        "moving brain's own surface, ventricles and folds.",
    ),
    "checkerboard": (
        "Checkerboard",
        "Squares from the fixed and the moving brain in turn. After registration surfaces, ventricles and folds "
        "should run on from one square to the next without a step.",
    ),
    "deformation": (
        "Deformation",
        "Above: where the moving brain was larger (red) or smaller (blue) than the fixed brain; uncoloured where "
        "both were the same. Yellow would be tissue folded over itself, which cannot be right. Below: an even grid "
        "on the moving brain, bent as the brain was. Its lines may bend but must not cross.",
    ),
}
SAFETY_NOTE = (
    "For research use only. This is not a medical device and not for diagnosis or treatment. "
    "Look at the pictures before relying on the figures: no figure proves that a registration is right."
)
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1d2125; --quiet: #5b646d; --line: #dde1e5;
  --tint: #f4f6f8; --note: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ground: #16191c; --ink: #e3e6e9; --quiet: #9aa4ad;
  --line: #30363c; --tint: #1f2327; --note: #f0b95a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 64rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; font-weight: 600; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.15rem; font-weight: 600; }
.names { margin: .75rem 0 0; display: grid; grid-template-columns: max-content 1fr; gap: 0 .75rem; }
.names dt, .glance dt, .hint, figcaption { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
.glance { margin: 1.5rem 0 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.glance div { padding: .75rem 1rem; background: var(--tint); border-radius: .5rem; }
.glance dt { font-size: .85rem; }
.glance dd { font-size: 1.35rem; font-weight: 600; }
.safety { margin: 1.5rem 0 0; padding-left: .75rem; border-left: 3px solid var(--note); font-size: .9rem; }
.notes { margin: 1rem 0 0; padding-left: 1.25rem; color: var(--note); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: .5rem; background: #000; }
figcaption { margin: .5rem 0 0; font-size: .9rem; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 400; width: 45%; }
thead th { color: var(--quiet); font-size: .85rem; width: auto; }
td { overflow-wrap: anywhere; }
.hint { display: block; font-size: .85rem; }
.part th { padding-left: 1.5rem; }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; } }
"""
# Keeps the page from loading anything, whatever a file's name may contain.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MISSING = "\u2013"


def html_report(report: Mapping, pictures: Mapping[str, bytes]) -> str:
    """Write the page of a registration.

    Figures that are absent or None are left out.

    :param report: the figures of ``report.json``: ``fixed`` and ``moving`` (file names), ``mode``, ``device``,
        ``seconds`` (``total``, ``stages`` by name), ``dice_before``, ``dice_after``, ``dice_by_label`` (for each
        structure's name ``before`` and ``after``), ``similarity_before``, ``similarity_after``,
        ``folding_percent``, ``displacement_mm`` (``mean``, ``max``), ``inverse_residual_mm``, ``model``
        (``name``, ``version``, ``sha256``), ``versions`` by name, ``notes`` (sentences).
    :param pictures: PNG files by name, as :func:`SLSFGRLib.report.overview` gives them.
    :returns: a page that needs no other file and no network.
    """
    title = "Brain registration"
    parts = [
        f"<h1>{title}</h1>",
        _names(report),
        _glance(report),
        _notes(report),
        f'<p class="safety">{escape(SAFETY_NOTE)}</p>',
        *(_figure(name, png) for name, png in pictures.items()),
        _section("Result", _result_rows(report)),
        _structures(report.get("dice_by_label") or {}),
        _section("How it was made", _run_rows(report)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: {_text(report.get('moving'))} to {_text(report.get('fixed'))}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(filter(None, parts)) + "\n</body>\n</html>\n"
    )


def _names(report: Mapping) -> str:
    rows = (("Fixed", report.get("fixed")), ("Moving", report.get("moving")))
    return '<dl class="names">' + "".join(f"<dt>{name}</dt><dd>{_text(file)}</dd>" for name, file in rows) + "</dl>"


def _glance(report: Mapping) -> str:
    """The results that matter most, in large type."""
    cards = []
    if report.get("dice_after") is not None:
        cards.append(("Overlap of structures (Dice)", _change(report, "dice")))
    elif report.get("similarity_after") is not None:
        cards.append(("Likeness of the images", _change(report, "similarity")))
    if report.get("folding_percent") is not None:
        cards.append(("Folded tissue", _with_unit(report["folding_percent"], "%")))
    if report.get("displacement_mm"):
        cards.append(("Mean displacement", _with_unit(report["displacement_mm"].get("mean"), "mm")))
    if report.get("seconds"):
        cards.append(("Time", _duration(report["seconds"].get("total"))))
    if not cards:
        return ""
    return (
        '<dl class="glance">'
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cards)
        + "</dl>"
    )


def _change(report: Mapping, name: str) -> str:
    """A figure before and after, with an arrow between."""
    before, after = report.get(f"{name}_before"), report.get(f"{name}_after")
    return _ratio(after) if before is None else f"{_ratio(before)} \u2192 {_ratio(after)}"


def _notes(report: Mapping) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in report.get("notes") or [])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _figure(name: str, png: bytes) -> str:
    title, caption = PICTURE_TEXTS.get(name, (name.replace("_", " ").capitalize(), ""))
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<h2>{_text(title)}</h2>\n<figure><img alt="{_text(title)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _result_rows(report: Mapping) -> list[str]:
    displacement = report.get("displacement_mm") or {}
    overlap = "Mean over the structures found in both brains; 1 is perfect, 0 is no overlap."
    likeness = "How well the brightness of the two images agrees from place to place; 1 is perfect."
    return [
        _row("Dice", report.get("dice_after"), lambda _: _change(report, "dice"), overlap),
        _row("Likeness", report.get("similarity_after"), lambda _: _change(report, "similarity"), likeness),
        _row("Folding", report.get("folding_percent"), _percent, "Share of the head that is folded over; should be 0."),
        _row("Mean displacement", displacement.get("mean"), _millimetres, "Beyond the alignment of whole heads."),
        _row("Largest displacement", displacement.get("max"), _millimetres),
        _row(
            "Error of the inverse",
            report.get("inverse_residual_mm"),
            _millimetres,
            "How far from its start a point is after going there and back, on average.",
        ),
    ]


def _run_rows(report: Mapping) -> list[str]:
    seconds = report.get("seconds") or {}
    model = report.get("model") or {}
    return [
        _row("Mode", report.get("mode"), _text),
        _row("Device", report.get("device"), _text),
        _row("Time", seconds.get("total"), _duration),
        *(_row(name, value, _duration, part=True) for name, value in (seconds.get("stages") or {}).items()),
        _row("Model", model.get("name"), _text),
        _row("Version", model.get("version"), _text, part=True),
        _row("SHA-256", model.get("sha256"), _text, part=True),
        *(_row(name, version, _text) for name, version in (report.get("versions") or {}).items()),
    ]


def _row(name: object, value: object, form: Callable[..., str], hint: str = "", part: bool = False) -> str:
    """One line of a table, or nothing where there is no value.

    :param form: turns the value into HTML.
    :param part: belongs to the line above.
    """
    if value is None:
        return ""
    hint = f'<span class="hint">{escape(hint)}</span>' if hint else ""
    kind = ' class="part"' if part else ""
    return f'<tr{kind}><th scope="row">{_text(name)}{hint}</th><td>{form(value)}</td></tr>'


def _section(title: str, rows: list[str]) -> str:
    body = "\n".join(filter(None, rows))
    return f"<h2>{title}</h2>\n<table>\n<tbody>\n{body}\n</tbody>\n</table>" if body else ""


def _structures(dice: Mapping) -> str:
    """A table of the overlap of each structure."""
    rows = "\n".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_ratio(values.get("before"))}</td>'
        f"<td>{_ratio(values.get('after'))}</td></tr>"
        for name, values in dice.items()
    )
    head = '<tr><th scope="col">Structure</th><th scope="col">Dice before</th><th scope="col">Dice after</th></tr>'
    if not rows:
        return ""
    return f"<h2>By structure</h2>\n<table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _text(value: object) -> str:
    return MISSING if value is None else escape(str(value))


def _ratio(value: float | None) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def _with_unit(value: float | None, unit: str) -> str:
    """Three digits and a unit, held together by a space that does not break."""
    if value is None or not math.isfinite(value):
        return MISSING
    digits = f"{value:.3g}" if abs(value) >= 0.0001 or value == 0 else "&lt; 0.0001"
    return f"{digits}\u00a0{unit}"


def _percent(value: float) -> str:
    return _with_unit(value, "%")


def _millimetres(value: float) -> str:
    return _with_unit(value, "mm")


def _duration(seconds: float | None) -> str:
    if seconds is None or seconds < 120:
        return _with_unit(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}\u00a0min {rest}\u00a0s"
