"""Tables of an experiment in Markdown: ``python -m benchmarks.tables DIR``, for instance while it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from .experiment import RESULTS

# Figure: its heading and its decimals. Parts of a figure have four, other figures one.
HEADINGS = {
    "dice": ("Dice", 4),
    "dice_segmentation": ("Dice of the segmentation", 4),
    "error_mm": ("error, mm", 3),
    "from_both_mm": ("from both, mm", 3),
    "from_ants_mm": ("from ANTs, mm", 3),
    "from_greedy_mm": ("from greedy, mm", 3),
    "ants_greedy_mm": ("ANTs from greedy, mm", 3),
    "hd95_mm": ("HD95, mm", 2),
    "folding_percent": ("folding, %", 4),
    "sd_log_jacobian": ("SD log J", 3),
    "seconds": ("seconds", 1),
    "cpu_seconds": ("CPU seconds", 1),
    "memory_gb": ("peak GB", 2),
}


def write_tables(folder: Path) -> str:
    """Write ``tables.md``: the means, every case, the parts of each figure; return the means."""
    groups = list(read(folder).groupby("group", sort=False))
    texts = []
    for make in (means, cases, parts):
        tables = [f"{group}\n\n{make(results).to_markdown(disable_numparse=True)}\n" for group, results in groups]
        texts.append("\n".join(tables).lstrip())
    (folder / "tables.md").write_text("\n".join(texts), encoding="utf-8")
    return texts[0]


def read(folder: Path) -> pd.DataFrame:
    """Return the results of an experiment, the group of each case in a column of its own."""
    results = pd.read_csv(folder / RESULTS, dtype={"case": str})
    names = results["case"].str.rpartition("/")
    return results.assign(group=names[0], case=names[2])


def means(results: pd.DataFrame) -> pd.DataFrame:
    """Return the mean ± standard deviation of each figure over the cases, one row for each system.

    "repeats" is the standard deviation of the mean Dice from one repeat of the experiment to the next.
    """
    by_system = _wide(results, ["system", "case"]).groupby("system", sort=False)
    table = _written(by_system.mean()) + _written(by_system.std()).map(lambda text: text and f" ± {text}")
    if "dice" in set(results["figure"]):
        spread = _wide(results, ["system", "repeat"])["dice"].groupby("system", sort=False).std()
        table["repeats"] = spread.map(lambda value: "once" if pd.isna(value) else f"± {value:.4f}")
    return table.assign(cases=by_system.size())


def cases(results: pd.DataFrame) -> pd.DataFrame:
    """Return each figure, one row for each case and system."""
    table = _written(_wide(results, ["case", "system"]))
    return table.reset_index().set_index("case")


def parts(results: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each part of a figure, such as the Dice of a label, one column for each system."""
    found = results[results["figure"].str.contains("/")]
    table = found.pivot_table(index="figure", columns="system", values="value", sort=False)
    return table.map(_text, decimals=4)


def _wide(results: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the mean of each figure, one row for each key, in the order in which they were measured."""
    found = results[~results["figure"].str.startswith("dice/")]
    table = found.pivot_table(index=by, columns="figure", values="value", sort=False)
    return table[sorted(table, key=lambda name: [*HEADINGS, name].index(name))]


def _written(table: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers as texts under the headings of their figures; what is missing is empty."""
    written = {}
    for figure, values in table.items():
        heading, decimals = HEADINGS.get(figure, (figure.rpartition("/")[2], 1))
        written[heading] = values.map(lambda value, decimals=decimals: _text(value, decimals))
    return pd.DataFrame(written)


def _text(value: float, decimals: int) -> str:
    return "" if pd.isna(value) else f"{value:.{decimals}f}"


if __name__ == "__main__":
    print(write_tables(Path(sys.argv[1])))
