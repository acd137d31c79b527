"""Do many cases: those that are not done yet, here or on a Dask cluster, and sum them up in a table and a page."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import SimpleITK as sitk

from ..report.batch import write_summary
from ..runtime.progress import ProgressCallback
from .case_record import finished_row
from .case_work import DONE, FAILED, do_case
from .cases import REGISTER, Case, cases_of_folder

# Does cases, in any order, and yields each with its line of the table of results.
Runner = Callable[[Sequence[Case]], Iterator[tuple[Case, dict]]]


def run_batch(
    cases: Sequence[Case],
    output: Path,
    run: Runner | None = None,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
    library: ModuleType | None = None,
) -> list[dict]:
    """Do all cases that are not done yet, and write ``results.csv`` and ``index.html``.

    A case that fails stops no other. When the batch is stopped, the next run continues; it repeats the cases whose
    inputs, settings or version have changed, or whose files are not as they were written.

    :param run: where they are done; by default one after the other in this process.
    :param progress: called with the fraction done, and how many are done and how long the others will take.
    :param say: takes sentences for the user.
    :param library: a module with ``register`` and ``segment``; this library by default.
    :returns: a line of the table of results for each case, in the order of the cases.
    """
    ordered = do_cases(cases, output, run, progress, say, library)
    what = "registrations" if cases[0].task == REGISTER else "segmentations"
    write_summary(ordered, f"Batch of {len(cases)} {what}", output)
    return ordered


def do_cases(
    cases: Sequence[Case],
    output: Path,
    run: Runner | None = None,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
    library: ModuleType | None = None,
) -> list[dict]:
    """Do all cases that are not done yet; see :func:`run_batch`, which also sums them up."""
    output.mkdir(parents=True, exist_ok=True)
    rows, waiting = _finished(cases, output, say)
    clock = _Clock(progress, len(rows), len(cases))
    run = run or (lambda waiting: ((case, do_case(case, output, clock.part, library)) for case in waiting))
    clock.show()
    for case, row in run(waiting):
        # Each line from a worker brings its own copies of the columns' names.
        rows[case.key] = {sys.intern(name): value for name, value in row.items()}
        clock.count(row)
    return [rows[case.key] for case in cases]


def _finished(
    cases: Sequence[Case], output: Path, say: Callable[[str], None] | None
) -> tuple[dict[tuple, dict], list[Case]]:
    """Return the lines of the cases that are done, and the other cases; say what is done again, and why."""
    rows, waiting, again = {}, [], Counter()
    for case in cases:
        row, reason = finished_row(case, output)
        if row is None:
            waiting.append(case)
        else:
            rows[case.key] = row
        again.update([reason] if reason else [])
    if say is not None and rows:
        say(f"{len(rows)} of {len(cases)} cases are done already and are kept.")
    if say is not None and again:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in again.most_common(5))
        say(f"{again.total()} of {len(cases)} cases are done again: {reasons}.")
    return rows, waiting


class _Clock:
    """Reports how many cases are done, and how long the others will take.

    :param before: how many were done by an earlier run.
    """

    def __init__(self, progress: ProgressCallback | None, before: int, total: int) -> None:
        self._progress, self._total = progress, total
        self._done, self._failed, self._worked, self._begin = before, 0, 0, time.monotonic()
        self._text = ""
        self.part = self._show_part if progress else None

    def count(self, row: dict) -> None:
        """Count a case that has ended."""
        self._done += 1
        self._failed += row["status"] == FAILED
        self._worked += row["status"] == DONE
        self.show()

    def show(self) -> None:
        """Report the cases that have ended."""
        self._text = self._message()
        if self._progress is not None:
            self._progress(self._done / self._total, self._text)

    def _show_part(self, fraction: float, _message: str) -> None:
        self._progress((self._done + fraction) / self._total, self._text)

    def _message(self) -> str:
        parts = [f"{self._done} of {self._total} cases"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._worked and self._done < self._total:
            # Failed cases end early and say nothing about the others.
            each = (time.monotonic() - self._begin) / self._worked
            parts.append(f"{_duration(each * (self._total - self._done))} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class FolderCase:
    """The outcome for one image of a folder.

    :param path: the moving image.
    :param output: the folder with its results; None if it could not be registered.
    :param report: its line of the table of results.
    :param problem: why it could not be registered, in one sentence.
    """

    path: Path
    output: Path | None = None
    report: dict = field(default_factory=dict)
    problem: str = ""


def register_folder(
    fixed: sitk.Image,
    folder: Path,
    output: Path,
    progress: ProgressCallback | None = None,
    library: ModuleType | None = None,
    **settings: object,
) -> list[FolderCase]:
    """Register each image file of a folder to one image, into a folder of its own below ``output``.

    It is a batch as ``slsfgr batch`` does it, in this process: see :func:`run_batch`.

    :param settings: of :data:`SLSFGRLib.jobs.cases.SETTINGS`.
    """
    cases = cases_of_folder(folder, REGISTER, settings, fixed)
    rows = run_batch(cases, output, progress=progress, library=library)
    return [_folder_case(case, row, output) for case, row in zip(cases, rows, strict=True)]


def _folder_case(case: Case, row: dict, output: Path) -> FolderCase:
    path = case.images["moving"]
    if row["status"] == FAILED:
        return FolderCase(path, problem=row["problem"])
    return FolderCase(path, output / case.name, row)
