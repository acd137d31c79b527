"""Report the progress of a long computation as a fraction and a message."""

from __future__ import annotations

import time
from collections.abc import Callable

ProgressCallback = Callable[[float, str], None]


class Progress:
    """The progress of one run through named stages, and the seconds of each stage.

    :param callback: called with the fraction done, 0 to 1, and the name of the stage; it may raise
        :class:`SLSFGRLib.errors.Cancelled`, or anything else, to stop the run.
    :param shares: the stages in order, with the fraction of the time that each is expected to take.
    """

    def __init__(self, callback: ProgressCallback | None, shares: dict[str, float]) -> None:
        total = sum(shares.values())
        self._callback = callback
        self._shares = {name: share / total for name, share in shares.items()}
        self._stage = ""
        self._stage_start = self._start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """End the current stage and begin the named one."""
        self._close_stage()
        self._stage = stage
        self.update(0.0)

    def update(self, fraction: float) -> None:
        """Report that this fraction of the current stage is done."""
        if self._callback is None:
            return
        names = list(self._shares)
        before = sum(self._shares[name] for name in names[: names.index(self._stage)])
        self._callback(before + fraction * self._shares[self._stage], self._stage)

    def finish(self) -> float:
        """End the last stage.

        :returns: seconds since this object was created.
        """
        self._close_stage()
        if self._callback is not None:
            self._callback(1.0, "Done")
        return time.perf_counter() - self._start

    def _close_stage(self) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._stage_start
        self._stage_start = now
