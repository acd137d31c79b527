"""A batch whose work is replaced by a sleep: what the engine itself takes in time and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.batch import run_batch
from SLSFGRLib.jobs.case_work import DONE
from SLSFGRLib.jobs.cases import REGISTER, SETTINGS, Case
from SLSFGRLib.jobs.cluster import cluster_client, do_on_workers

from .dask_processes import DaskProcesses, cpu_seconds, memory_mb

SLEEP_SECONDS = 0.02
EVERY = 1000


def simulate(count: int, output: Path, workers: int) -> list[dict[str, float]]:
    """Run a batch of so many cases on a scheduler and workers as processes of their own.

    :returns: after every 1,000 cases, and at the end with the table and the page: ``cases``, ``seconds``,
        ``client_cpu_seconds``, ``scheduler_cpu_seconds``, ``client_mb``, ``scheduler_mb``.
    """
    settings = SETTINGS[REGISTER]
    images = {"fixed": Path("/fixed.nii.gz"), "moving": Path("/moving.nii.gz")}
    cases = [Case(REGISTER, f"case_{number:06d}", images, settings=settings) for number in range(count)]
    with DaskProcesses(output / "dask", workers) as dask, cluster_client(dask.address) as client:
        client.wait_for_workers(workers)
        watch = _Watch(dask.scheduler.pid, count)
        run_batch(cases, output, lambda waiting: do_on_workers(client, waiting, output, 1, pretend), watch)
        watch.add(count)
    return watch.rows


def pretend(case: Case, _output: Path, _version: str, _threads: int | None) -> dict:
    """Sleep instead of registering, and return a line of the table as long as a real one."""
    time.sleep(SLEEP_SECONDS)
    begin = {"name": case.name, "folder": case.name, "report": "report.html", "thumbnail": "thumbnail.jpg"}
    figures = {"status": DONE, "problem": "", "dice_after": 0.8, "folding_percent": 0.01, "seconds": SLEEP_SECONDS}
    names = [structure.name for structure in read_label_table()]
    volumes = {f"{image}: {name} (mL)": 1.2345 for image in ("fixed", "moving") for name in names}
    return begin | {role: str(image) for role, image in case.images.items()} | figures | volumes


class _Watch:
    """A progress callback that measures after every 1,000 cases."""

    def __init__(self, scheduler: int, count: int) -> None:
        self._scheduler, self._count, self._begin = scheduler, count, time.monotonic()
        self._before = self._cpu_seconds()
        self.rows: list[dict[str, float]] = []

    def __call__(self, fraction: float, _message: str) -> None:
        done = round(fraction * self._count)
        if done and done % EVERY == 0:
            self.add(done)

    def add(self, done: int) -> None:
        """Measure now."""
        client, scheduler = (now - then for now, then in zip(self._cpu_seconds(), self._before, strict=True))
        row = {"cases": done, "seconds": time.monotonic() - self._begin}
        row |= {"client_cpu_seconds": client, "scheduler_cpu_seconds": scheduler}
        row |= {"client_mb": memory_mb(os.getpid()), "scheduler_mb": memory_mb(self._scheduler)}
        self.rows.append({name: round(value, 1) for name, value in row.items()})
        print(*(f"{name} {value}" for name, value in self.rows[-1].items()), sep=", ", flush=True)

    def _cpu_seconds(self) -> tuple[float, float]:
        return cpu_seconds(os.getpid()), cpu_seconds(self._scheduler)
