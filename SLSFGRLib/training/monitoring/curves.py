"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path


def draw_curve(rows: list[dict], score: str, score_title: str, path: Path) -> None:
    """Draw the losses and the validation score over the steps.

    Without the optional package matplotlib no picture is made; the CSV file holds the same figures.

    :param rows: as in ``curve.csv``; every column whose name ends in a loss is drawn.
    :param score: the column of the score, the higher the better.
    :param path: of the PNG file.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("training_") or "_loss" in name)
    for name in names:
        found = [(row["step"], row[name]) for row in rows if name in row]
        losses.plot(*zip(*found, strict=True), label=name.replace("_", " "))
    losses.set(xlabel="step", ylabel="loss")
    losses.legend(frameon=False)
    steps, values = [row["step"] for row in rows], [row[score] for row in rows]
    scores.plot(steps, values, color="tab:green")
    best = max(range(len(values)), key=values.__getitem__)
    scores.plot(steps[best], values[best], "o", color="tab:green", label=f"best: {values[best]:.4f}")
    scores.set(xlabel="step", ylabel=score_title)
    scores.legend(frameon=False)
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
