"""The tables and the picture of a benchmark: ``python summary.py DIR [--picture PATH]``.

Writes into DIR, for each contrast that was run: ``table-CONTRAST.md``, ``structures-CONTRAST.csv`` and
``picture-CONTRAST.png``.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from systems import CONTRASTS, SAME, SYSTEMS

# Column of results.csv: its heading, and how its mean and its spread over the pairs are written.
COLUMNS = {
    "dice": ("Dice", "{:.3f} ± {:.3f}"),
    "surface_distance_95_mm": ("HD95, mm", "{:.2f} ± {:.2f}"),
    "folding_percent": ("folding, %", "{:.4f} ± {:.4f}"),
    "log_jacobian_deviation": ("SD log J", "{:.2f} ± {:.2f}"),
    "seconds": ("seconds", "{:.1f} ± {:.1f}"),
    "memory_gb": ("peak GB", "{:.2f} ± {:.2f}"),
}
OURS, THEIRS = "#d1495b", "#30638e"

# One row of results.csv, as it is read.
Row = dict[str, str]


def main() -> None:
    """Summarise once more, for instance while the benchmark runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the --output of bench.py")
    parser.add_argument("--picture", type=Path, help="also copy the picture of the same-contrast benchmark here")
    arguments = parser.parse_args()
    print(summarise(arguments.folder))
    if arguments.picture:
        shutil.copyfile(arguments.folder / f"picture-{SAME}.png", arguments.picture)


def summarise(folder: Path) -> str:
    """Write all tables and pictures of a benchmark; the Markdown tables come back, too."""
    rows, labels = _read(folder / "results.csv"), _read(folder / "labels.csv")
    texts = []
    for contrast in CONTRASTS:
        found = [row for row in rows if row["contrast"] == contrast]
        if found:
            texts.append(markdown_table(found))
            (folder / f"table-{contrast}.md").write_text(texts[-1], encoding="utf-8")
            _write_structures(labels, contrast, folder / f"structures-{contrast}.csv")
            draw(found, folder / f"picture-{contrast}.png")
    return "\n".join(texts)


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def markdown_table(rows: list[Row]) -> str:
    """One line for each system: the mean over pairs ± their standard deviation.

    The column "repeats" is the standard deviation of the mean Dice from one repeat of the benchmark to the next.
    """
    headings = ["system", *(heading for heading, _ in COLUMNS.values()), "repeats", "pairs"]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for system, found in by_system(rows).items():
        cells = [shape.format(*mean_and_spread(pair_means(found, name))) for name, (_, shape) in COLUMNS.items()]
        over_repeats = repeat_means(found, "dice")
        cells.append(f"± {stdev(over_repeats):.4f}" if len(over_repeats) > 1 else "once")
        cells.append(str(len(pair_means(found, "dice"))))
        lines.append("| " + " | ".join([SYSTEMS[system].title, *cells]) + " |")
    return "\n".join(lines) + "\n"


def by_system(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by system, in the order of the list of systems."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["system"]].append(row)
    return {name: groups[name] for name in SYSTEMS if name in groups}


def pair_means(rows: list[Row], column: str) -> list[float]:
    """For each pair the mean over its repeats."""
    return _means(rows, "pair", column)


def repeat_means(rows: list[Row], column: str) -> list[float]:
    """For each repeat the mean over its pairs."""
    return _means(rows, "repeat", column)


def _means(rows: list[Row], key: str, column: str) -> list[float]:
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(float(row[column]))
    return [fmean(values) for values in groups.values()]


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    """The mean and the standard deviation; the latter is 0 for a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def _write_structures(rows: list[Row], contrast: str, path: Path) -> None:
    """Mean Dice, one line for each label and one column for each system."""
    groups = by_system(row for row in rows if row["contrast"] == contrast)
    # Keyed by run, so that a run that was interrupted and done again counts once.
    values = {
        (system, row["label"], row["repeat"], row["pair"]): float(row["dice"])
        for system, found in groups.items()
        for row in found
    }
    means = defaultdict(list)
    for (system, label, *_), dice in values.items():
        means[system, label].append(dice)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["label", *groups])
        for label in sorted({label for _, label in means}, key=int):
            writer.writerow([label, *(_mean_or_nothing(means.get((system, label))) for system in groups)])


def _mean_or_nothing(values: list[float] | None) -> str:
    return f"{fmean(values):.4f}" if values else ""


def draw(rows: list[Row], path: Path) -> None:
    """Dice against seconds, one point for each system: the mean over the pairs that all of them have done."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    rows, count = on_common_pairs(rows)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(
        xscale="log",
        xlabel="seconds a pair, process start to exit",
        ylabel="Dice, all labels",
        title=f"mean over {count} pair{'s' * (count != 1)} of brains",
    )
    points = {
        system: [fmean(pair_means(found, column)) for column in ("seconds", "dice")]
        for system, found in by_system(rows).items()
    }
    lowest_first = sorted(points, key=lambda system: points[system][1])
    for number, system in enumerate(lowest_first):
        is_ours = SYSTEMS[system].script is None
        colour = OURS if is_ours else THEIRS
        axes.plot(*points[system], color=colour, marker="D" if is_ours else "o")
        # Of two close to each other the upper one's name goes up a little, the lower one's down.
        below = any(_are_close(points[system], points[other]) for other in lowest_first[number + 1 :])
        above = any(_are_close(points[system], points[other]) for other in lowest_first[:number])
        place = (7, -3 + 5 * (above - below))
        axes.annotate(
            SYSTEMS[system].title, points[system], textcoords="offset points", xytext=place, fontsize=7.5, color=colour
        )
    axes.margins(x=0.2, y=0.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, linewidth=0.3)
    figure.savefig(path, dpi=150)


def on_common_pairs(rows: list[Row]) -> tuple[list[Row], int]:
    """The rows of the pairs that every system has done, and how many pairs these are."""
    done = [{row["pair"] for row in found} for found in by_system(rows).values()]
    common = set.intersection(*done)
    return [row for row in rows if row["pair"] in common], len(common)


def _are_close(first: list[float], second: list[float]) -> bool:
    """Whether the names of two points, of seconds and Dice, would be written over each other."""
    return abs(first[1] - second[1]) < 0.005 and 0.5 < first[0] / second[0] < 2.0


if __name__ == "__main__":
    main()
