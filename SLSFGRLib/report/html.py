"""The page of a registration: its pictures and numbers in one HTML file."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from html import escape
from string import Template

from ..io.resources import resource_path

CAPTIONS = {
    "before_after": (
        "Before and after",
        "The fixed brain, and the moving brain before and after registration. The last row should have the shape "
        "of the first. R and L are the patient's right and left, A and P are anterior and posterior.",
    ),
    "outline": (
        "Outlines",
        "Outlines of the fixed brain (orange) on the moving brain. After registration they should follow the "
        "surface, the ventricles and the sulci of the moving brain.",
    ),
    "checkerboard": (
        "Checkerboard",
        "Squares of the fixed and the moving brain in turn. After registration the surface, the ventricles and the "
        "sulci should continue from one square to the next without a step.",
    ),
    "deformation": (
        "Deformation",
        "Above: where the moving brain was larger (red) or smaller (blue) than the fixed brain, averaged over a few "
        "millimetres; grey where the volume is the same. If the whole heads differ in size, this is left out of the "
        "colours and stands in the title. Yellow marks folded tissue, which is an error. Below: a regular grid on the "
        "moving brain, deformed with the brain. Its lines may bend but must not cross.",
    ),
}
MISSING = "\u2013"


class Markup(str):
    """Text that is HTML already, and is not escaped again."""


CARD = Template("<div><dt>$name</dt><dd>$value</dd></div>")
NOTE = Template("<li>$note</li>")
FIGURE = Template(
    '<h2>$title</h2>\n<figure><img alt="$title" src="data:image/png;base64,$data">'
    "<figcaption>$caption</figcaption></figure>"
)
HINT = Template('<span class="hint">$text</span>')
ROW = Template('<tr$kind><th scope="row">$name$hint</th><td>$value</td></tr>')
SECTION = Template("<h2>$title</h2>\n<table>\n<tbody>\n$rows\n</tbody>\n</table>")
MODEL = Template("<tr><td>$role</td><td>$name</td><td>$version</td><td>$sha256</td></tr>")
MODELS = Template(
    '<h2>Models</h2>\n<table class="models">\n<thead><tr><th scope="col">Role</th><th scope="col">Name</th>'
    '<th scope="col">Version</th><th scope="col">Checksum (SHA-256)</th></tr></thead>\n'
    "<tbody>\n$rows\n</tbody>\n</table>"
)


def html_report(report: Mapping, pictures: Mapping[str, bytes]) -> str:
    """Return the page of a registration.

    Values that are absent or None are left out.

    :param report: the contents of ``report.json``: ``fixed`` and ``moving`` (file names), ``mode``, ``device``,
        ``seconds`` (``total``, ``stages`` by name), ``dice_before``, ``dice_after``, ``similarity_before``,
        ``similarity_after``, ``folding_percent``, ``displacement_mm`` (``mean``, ``max``), ``inverse_residual_mm``,
        ``models`` (a list of ``role``, ``name``, ``version``, ``sha256``), ``versions`` by name, ``notes``
        (sentences), ``transform``, ``transform_reason``.
    :param pictures: PNG files by name, as :func:`SLSFGRLib.report.pictures.overview` gives them.
    :returns: a page that needs no other file and no network.
    """
    sections = [_section("Result", _result_rows(report)), _models(report), _section("Run", _run_rows(report))]
    return _fill(
        Template(resource_path("report", "report.html").read_text(encoding="utf-8")),
        fixed=_text(report.get("fixed")),
        moving=_text(report.get("moving")),
        glance=_joined(_fill(CARD, name=name, value=value) for name, value in _glance(report)),
        notes=_joined(_fill(NOTE, note=note) for note in report.get("notes") or []),
        figures=_joined(_figure(name, png) for name, png in pictures.items()),
        sections=_joined(sections),
    )


def _fill(template: Template, **values: str) -> Markup:
    """Fill in a template; every value is escaped that is not :class:`Markup`."""
    safe = {name: value if isinstance(value, Markup) else escape(str(value)) for name, value in values.items()}
    return Markup(template.substitute(safe))


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("\n".join(filter(None, parts)))


def _glance(report: Mapping) -> list[tuple[str, str]]:
    """Return the names and values of the most important results."""
    cards = []
    if report.get("dice_after") is not None:
        cards.append(("Overlap of structures (Dice)", _change(report, "dice")))
    elif report.get("similarity_after") is not None:
        cards.append(("Similarity (LNCC)", _change(report, "similarity")))
    if report.get("folding_percent") is not None:
        cards.append(("Folding", _percent(report["folding_percent"])))
    if report.get("displacement_mm"):
        cards.append(("Mean displacement", _millimetres(report["displacement_mm"].get("mean"))))
    if report.get("seconds"):
        cards.append(("Time", _duration(report["seconds"].get("total"))))
    return cards


def _change(report: Mapping, name: str) -> str:
    """Return a value before and after registration, with an arrow between them."""
    before, after = report.get(f"{name}_before"), report.get(f"{name}_after")
    return _ratio(after) if before is None else f"{_ratio(before)} \u2192 {_ratio(after)}"


def _figure(name: str, png: bytes) -> Markup:
    title, caption = CAPTIONS.get(name, (name.replace("_", " ").capitalize(), ""))
    return _fill(FIGURE, title=title, caption=caption, data=base64.b64encode(png).decode("ascii"))


def _result_rows(report: Mapping) -> list[Markup]:
    displacement = report.get("displacement_mm") or {}
    return [
        _row(
            "Dice",
            report.get("dice_after"),
            lambda _: _change(report, "dice"),
            "Mean overlap of the structures found in both brains. 1 is perfect, 0 is no overlap.",
        ),
        _row(
            "Similarity (LNCC)",
            report.get("similarity_after"),
            lambda _: _change(report, "similarity"),
            "Local normalised cross-correlation of the two images. 1 is perfect.",
        ),
        _row(
            "Folding",
            report.get("folding_percent"),
            _percent,
            "Fraction of the head where the Jacobian determinant is not positive. Should be 0.",
        ),
        _row("Mean displacement", displacement.get("mean"), _millimetres, "Without the affine alignment."),
        _row("Largest displacement", displacement.get("max"), _millimetres),
        _row(
            "Error of the inverse",
            report.get("inverse_residual_mm"),
            _millimetres,
            "Mean distance between a point and the same point after the transform and its inverse.",
        ),
    ]


def _models(report: Mapping) -> Markup:
    """Return the table of the weights files and templates that took part."""
    rows = [
        _fill(MODEL, **{key: _text(model.get(key)) for key in ("role", "name", "version", "sha256")})
        for model in report.get("models", [])
    ]
    return _fill(MODELS, rows=_joined(rows)) if rows else Markup()


def _run_rows(report: Mapping) -> list[Markup]:
    seconds = report.get("seconds") or {}
    return [
        _row("Transform", report.get("transform"), _text),
        _row("Why", report.get("transform_reason"), _text),
        _row("Mode", report.get("mode"), _text),
        _row("Device", report.get("device"), _text),
        _row("Time", seconds.get("total"), _duration),
        *(_row(name, value, _duration, part=True) for name, value in (seconds.get("stages") or {}).items()),
        *(_row(name, version, _text) for name, version in (report.get("versions") or {}).items()),
    ]


def _row(name: object, value: object, form: Callable[..., str], hint: str = "", part: bool = False) -> Markup:
    """Return one row of a table, or nothing where there is no value.

    :param form: turns the value into text.
    :param part: whether the row belongs to the one above.
    """
    if value is None:
        return Markup()
    return _fill(
        ROW,
        kind=Markup(' class="part"' if part else ""),
        name=str(name),
        hint=_fill(HINT, text=hint) if hint else "",
        value=form(value),
    )


def _section(title: str, rows: list[Markup]) -> Markup:
    body = _joined(rows)
    return _fill(SECTION, title=title, rows=body) if body else Markup()


def _text(value: object) -> str:
    return MISSING if value is None else str(value)


def _ratio(value: float | None) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def _with_unit(value: float | None, unit: str) -> str:
    """Return three digits and a unit, joined by a no-break space."""
    if value is None or not math.isfinite(value):
        return MISSING
    digits = f"{value:.3g}" if abs(value) >= 0.0001 or value == 0 else "< 0.0001"
    return f"{digits}\u00a0{unit}"


def _percent(value: float) -> str:
    return _with_unit(value, "%")


def _millimetres(value: float | None) -> str:
    return _with_unit(value, "mm")


def _duration(seconds: float | None) -> str:
    if seconds is None or seconds < 120:
        return _with_unit(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}\u00a0min {rest}\u00a0s"
