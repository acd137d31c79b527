"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 28


class ConsoleProgress:
    """A progress callback for :func:`SLSFGRLib.register` that writes to a stream.

    :param quiet: write nothing.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._start = time.perf_counter()
        self._message = ""

    def __call__(self, fraction: float, message: str) -> None:
        """Show how much is done and what is being done."""
        if self._quiet:
            return
        if self._stream.isatty():
            self._draw(fraction, message)
        elif message != self._message:
            self._stream.write(f"[{self._seconds():6.1f} s] {message}\n")
        self._message = message
        self._stream.flush()

    def say(self, text: str) -> None:
        """Write a line below what was shown so far."""
        if not self._quiet:
            self._stream.write(f"{text}\n")

    def _draw(self, fraction: float, message: str) -> None:
        filled = round(fraction * WIDTH)
        bar = "█" * filled + "░" * (WIDTH - filled)
        end = "\n" if fraction >= 1.0 else ""
        self._stream.write(f"\r\033[K{bar} {100 * fraction:3.0f} %  {self._seconds():5.1f} s  {message}{end}")

    def _seconds(self) -> float:
        return time.perf_counter() - self._start
