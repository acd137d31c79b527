"""Draw Dice against seconds, ours in red: ``python -m benchmarks.picture DIR PICTURE.png [GROUP]``.

GROUP is one of cases, such as t2; without it those are drawn that have none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .tables import read


def draw(results: pd.DataFrame, path: Path) -> None:
    """Draw one point for each system: the means over the cases that all of them have done."""
    points, count = means_on_common_cases(results)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", title=f"mean over {count} pair{'s' * (count != 1)} of brains")
    axes.set(xlabel="seconds a pair, process start to exit", ylabel="Dice, all labels")
    # The names of neighbours in Dice are shifted up and down in turns, so that they do not overlap.
    for number, (system, point) in enumerate(points.sort_values("dice").iterrows()):
        colour, marker = ("tab:red", "D") if system.startswith("slsfgr") else ("tab:blue", "o")
        axes.plot(point["seconds"], point["dice"], color=colour, marker=marker)
        place = (7, 2 if number % 2 else -8)
        axes.annotate(system, (point["seconds"], point["dice"]), place, textcoords="offset points", color=colour)
    axes.margins(x=0.2, y=0.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, linewidth=0.3)
    figure.savefig(path, dpi=150)


def means_on_common_cases(results: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the mean Dice and seconds of each system on the cases that every system has done, and their number."""
    found = results[results["figure"].isin(["dice", "seconds"])]
    cases = found.pivot_table(index="case", columns=["system", "figure"], values="value").dropna()
    return cases.mean().unstack("figure"), len(cases)


if __name__ == "__main__":
    folder, path, *group = sys.argv[1:]
    found = read(Path(folder))
    draw(found[found["group"] == "".join(group)], Path(path))
