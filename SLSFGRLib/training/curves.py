"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path


def draw_curve(rows: list[dict], path: Path) -> None:
    """Draw losses and validation likeness over the steps.

    Needs the optional package matplotlib; without it, no picture is made (the CSV holds the same figures).

    :param rows: as in ``curve.csv``.
    :param path: of the PNG file.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses, likeness = figure.subplots(1, 2)
    for name, label in (("training_loss", "training"), ("validation_loss", "validation")):
        losses.plot(steps, [row[name] for row in rows], label=label)
    losses.set(xlabel="step", ylabel="loss")
    losses.legend(frameon=False)
    values = [row["validation_likeness"] for row in rows]
    likeness.plot(steps, values, color="tab:green")
    best = max(range(len(values)), key=values.__getitem__)
    likeness.plot(steps[best], values[best], "o", color="tab:green", label=f"best: {values[best]:.4f}")
    likeness.set(xlabel="step", ylabel="validation LNCC")
    likeness.legend(frameon=False)
    for axes in (losses, likeness):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
