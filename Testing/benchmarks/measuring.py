"""Run a command and measure it from start to exit.

Nothing heavy is imported here or in the scripts that use it: at exec, Linux carries the parent's peak of memory
over to the child (``ru_maxrss``), so a parent that had loaded images would spoil every figure.
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

THREAD_VARIABLES = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class RunError(Exception):
    """A measured command failed."""


@dataclass(frozen=True)
class Cost:
    """What one run took.

    :param seconds: from start to exit of the process.
    :param cpu_seconds: of all its threads and children; tells a slow program from a busy machine.
    :param memory_gb: peak of the resident memory of the process or of the largest of its children.
    """

    seconds: float
    cpu_seconds: float
    memory_gb: float


def timed(command: list[str], threads: int | None = None, log: IO | None = None) -> Cost:
    """Run a command to its end.

    :param threads: how many threads it may use; None leaves that to the command.
    :param log: open file for its output; None throws that away.
    :raises RunError: it did not exit with 0.
    """
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES if threads else (), str(threads))
    output = subprocess.DEVNULL if log is None else log
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT if log else None, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"exit {process.returncode}: {' '.join(command)}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


def table_row(path: Path, row: dict[str, object]) -> None:
    """Append a row to a CSV file at once, with the header first in a new file.

    :raises ValueError: the file has other columns.
    """
    is_new = not path.exists()
    if not is_new:
        with path.open(newline="", encoding="utf-8") as stream:
            if next(csv.reader(stream)) != list(row):
                raise ValueError(f"{path} has other columns; give another --output.")
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
