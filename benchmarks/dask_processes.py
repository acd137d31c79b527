"""A Dask scheduler and workers as processes of their own on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from .data import ROOT

START_SECONDS = 120


class DaskProcesses:
    """A scheduler and some workers with one thread each; they end with the block.

    :param folder: for their logs and temporary files.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        self.address = _address(file)
        self.workers: list[subprocess.Popen] = []
        for _ in range(workers):
            self.add_worker()

    def __enter__(self) -> DaskProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self.scheduler]:
            _kill(process)

    def add_worker(self) -> None:
        """Start another worker."""
        self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-dashboard"))

    def kill_worker(self) -> None:
        """Kill the first worker at once, with the nanny that would start it again, as the loss of a machine does."""
        _kill(self.workers.pop(0))

    def _start(self, *arguments: str) -> subprocess.Popen:
        # Workers import SLSFGRLib and benchmarks.
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (self._folder / f"{arguments[0]}.log").open("a") as log:
            command = [sys.executable, "-m", "dask", *arguments]
            return subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log, process_group=0)


def memory_mb(process: int) -> float:
    """Return the resident memory of a process in MB."""
    return psutil.Process(process).memory_info().rss / 1e6


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used."""
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def _address(file: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if file.exists() and (text := file.read_text()):
            return json.loads(text)["address"]
        time.sleep(0.1)
    raise TimeoutError(f"the Dask scheduler did not start; see {file.with_name('scheduler.log')}.")


def _kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
