"""What the command shows: progress on standard error, tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


class ConsoleProgress:
    """A progress callback for :func:`SLSFGRLib.register`: a bar on a terminal, plain lines elsewhere.

    Without the package rich, it writes plain lines everywhere.

    >>> with ConsoleProgress() as progress:  # doctest: +SKIP
    ...     SLSFGRLib.register(fixed, moving, progress=progress)

    :param quiet: write nothing.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._start = time.perf_counter()
        self._message = ""
        self._bar: Progress | None = None

    def __enter__(self) -> ConsoleProgress:
        self._bar = None if self._quiet else _bar(self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Gives the terminal its cursor back, after an error too.
        self._stop()

    def __call__(self, fraction: float, message: str) -> None:
        """Show which fraction of the work is done and what is being done."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.start()
            if not self._bar.tasks:
                self._bar.add_task(message, total=1.0)
            self._bar.update(self._bar.tasks[0].id, completed=fraction, description=message)
        elif message != self._message:
            self._stream.write(f"[{time.perf_counter() - self._start:6.1f} s] {message}\n")
            self._stream.flush()
        self._message = message

    def say(self, text: str) -> None:
        """Write a text below what was shown so far."""
        self._stop()
        if not self._quiet:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(stream: TextIO) -> Progress | None:
    """Return a progress bar, or None where there is no terminal or no rich."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:
        return None
    console = Console(file=stream)
    if console.is_dumb_terminal:
        return None
    columns = (BarColumn(28), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console, refresh_per_second=4)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], footer: Sequence[str]) -> None:
    """Print a table of numbers on standard output: ruled on a terminal with rich, plain columns elsewhere.

    :param footer: the last row.
    """
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
        except ModuleNotFoundError:
            pass
        else:
            table = Table(show_footer=True)
            for column, last in zip(columns, footer, strict=True):
                table.add_column(column, footer=last, justify="right")
            for row in rows:
                table.add_row(*row)
            Console().print(table)
            return
    lines = [columns, *rows, footer]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
