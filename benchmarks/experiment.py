"""Run systems on cases, score all alike, and keep every figure in one table.

The table, ``results.csv``, has one line for each figure of each run: ``repeat, case, system, figure, value``. A run
whose figures are in it is not repeated, so an experiment can be stopped and continued.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from . import csv_tables
from .processes import RunError, isolated, timed
from .systems import system

RESULTS = "results.csv"
COLUMNS = ["repeat", "case", "system", "figure", "value"]


class Run(NamedTuple):
    """One measurement; its fields are the key in the table."""

    repeat: int
    case: str
    system: str


@dataclass(frozen=True)
class Experiment:
    """A comparison of systems on the same cases.

    :param output: folder of the results; an experiment that is in it is continued.
    :param cases: by name; ``GROUP/NAME`` where groups of cases have tables of their own.
    :param systems: by name; each has ``command(case, folder)`` and ``environment``.
    :param score: ``module:function``, called with a case, a system and the folder that the system has written into;
        returns the figures by name, a part of a figure as ``FIGURE/PART``.
    :param threads: for each system.
    """

    output: Path
    cases: Mapping[str, object]
    systems: Mapping[str, object]
    score: str
    repeats: int = 1
    threads: int = 2

    def runs(self) -> Iterator[Run]:
        """Yield all runs, case by case, so that the systems take turns and a change in speed concerns all of them."""
        for key in product(range(1, self.repeats + 1), self.cases, self.systems):
            yield Run(*key)

    def do_missing(self) -> bool:
        """Do all runs that are not in the table yet; return whether every one succeeded."""
        done = finished(self.output / RESULTS)
        return all([self._attempt(run) for run in self.runs() if run not in done])

    def _attempt(self, run: Run) -> bool:
        """Do a run and record it; return False if it failed, which its log explains."""
        log = self.output / "logs" / (re.sub(r"[^\w.@-]+", "-", "-".join(map(str, run))) + ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        case, system = self.cases[run.case], self.systems[run.system]
        try:
            with tempfile.TemporaryDirectory() as folder, log.open("w") as stream:
                cost = timed(system.command(case, Path(folder)), stream, self.threads, system.environment)
                figures = isolated(self.score, case, system, Path(folder)) | cost
        except RunError as error:
            print(f"{run.case}  {run.system}  failed: {error}; see {log}", file=sys.stderr, flush=True)
            return False
        append(self.output / RESULTS, run, figures)
        shown = (f"{name} {value:.4f}" for name, value in figures.items() if "/" not in name)
        print(f"{run.case}  {run.system}  {'  '.join(shown)}", file=sys.stderr, flush=True)
        return True


def finished(table: Path) -> set[Run]:
    """Return the runs whose figures are in a table.

    :raises SystemExit: the file is another kind of table.
    """
    if not table.exists():
        return set()
    with table.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        if rows.fieldnames != COLUMNS:
            raise SystemExit(f"error: {table} has other columns; give another --output.")
        return {Run(int(row["repeat"]), row["case"], row["system"]) for row in rows}


def append(table: Path, run: Run, figures: Mapping[str, float]) -> None:
    """Add the figures of one run to a table, at once."""
    csv_tables.append(table, COLUMNS, *([*run, name, f"{value:.6f}"] for name, value in figures.items()))


def arguments(description: str, systems: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every experiment.

    :param systems: those that are run by default, separated by commas.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; continued if it exists")
    parser.add_argument(
        "--systems",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=systems,
        help="separated by commas, each NAME[@CHECKOUT] [OPTION ...], such as 'slsfgr-fast --model m.pt' or "
        f"slsfgr-standard@../old-version (default: {systems.replace('%', '%%')})",
    )
    parser.add_argument("--repeats", type=int, default=1, help="how often everything is run (default: 1)")
    parser.add_argument("--threads", type=int, default=2, help="of each process (default: 2)")
    return parser


def run(given: argparse.Namespace, cases: Mapping[str, object], score: str, find: Callable = system) -> None:
    """Run an experiment on some cases and print its tables.

    :param given: what :func:`arguments` has parsed.
    :param find: returns a system by its name.
    :raises SystemExit: with 1 if a run has failed.
    """
    systems = {name: find(name) for name in given.systems}
    is_whole = Experiment(given.output, cases, systems, score, given.repeats, given.threads).do_missing()
    if not (given.output / RESULTS).exists():
        raise SystemExit(1)
    try:
        from .tables import write_tables
    except ModuleNotFoundError as error:
        print(f"{given.output / RESULTS} is written; the tables need {error.name}.")
    else:
        print(write_tables(given.output))
    raise SystemExit(not is_whole)
