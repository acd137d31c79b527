"""A batch whose work is replaced by a sleep: what the engine itself takes in time and memory."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.batch import run_batch
from SLSFGRLib.jobs.case_record import fingerprint, write_record
from SLSFGRLib.jobs.case_work import DONE
from SLSFGRLib.jobs.cases import REGISTER, Case, cases_of_table
from SLSFGRLib.jobs.cluster import cluster_client, do_on_workers

from .dask_processes import DaskProcesses, cpu_seconds, memory_mb

SLEEP_SECONDS = 0.02
EVERY = 1000
# Those of a registration, with its record.
FILES = ("warped.nii.gz", "transform.h5", "inverse_transform.h5", "fixed_labels.nii.gz", "moving_labels.nii.gz")
FILES += ("report.json", "report.html", "thumbnail.jpg")


def simulate(count: int, output: Path, workers: int) -> dict[str, object]:
    """Run a batch of so many cases on a scheduler and workers as processes of their own, and then once more.

    :returns: by ``after``, for every 1,000 cases and for the end with the table and the page: ``cases``, ``seconds``,
        CPU seconds and MB of client and scheduler; further CPU seconds and sizes.
    """
    begin = time.process_time()
    cases = cases_of_table(_write_table(output / "images", count), REGISTER, {})
    table_seconds = time.process_time() - begin
    results = output / "results"
    with DaskProcesses(output / "dask", workers) as dask, cluster_client(dask.address) as client:
        client.wait_for_workers(workers)
        watch = _Watch(dask.scheduler.pid, count)
        run_batch(cases, results, lambda waiting: do_on_workers(client, waiting, results, 1, pretend), watch)
        watch.add(count)
    begin = time.process_time()
    rows = run_batch(cases, results, _nothing)
    return {
        "after": watch.rows,
        "table, CPU seconds": round(table_seconds, 1),
        "second run, which finds all done, CPU seconds": round(time.process_time() - begin, 1),
        "done": sum(row["status"] == DONE for row in rows),
        "MB": {name: round((results / name).stat().st_size / 1e6, 1) for name in ("results.csv", "index.html")},
    }


def pretend(case: Case, output: Path, _version: str, _threads: int | None) -> dict:
    """Sleep instead of registering, write empty files and a record, and return a line as long as a real one."""
    time.sleep(SLEEP_SECONDS)
    folder = output / case.name
    folder.mkdir()
    for name in FILES:
        (folder / name).touch()
    begin = {"name": case.name, "folder": case.name, "report": "report.html", "thumbnail": "thumbnail.jpg"}
    figures = {"status": DONE, "problem": "", "dice_after": 0.8, "folding_percent": 0.01, "seconds": SLEEP_SECONDS}
    names = [structure.name for structure in read_label_table()]
    volumes = {f"{image}: {name} (mL)": 1.2345 for image in ("fixed", "moving") for name in names}
    row = begin | {role: str(image) for role, image in case.images.items()} | figures | volumes
    write_record(case, fingerprint(case), row, folder)
    return row


def _write_table(folder: Path, count: int) -> Path:
    """Write a table of so many cases, and empty files in place of their images."""
    folder.mkdir()
    names = [f"case_{number:06d}" for number in range(count)]
    for name in ("fixed", *names):
        (folder / f"{name}.nii.gz").touch()
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = [(name, "fixed.nii.gz", f"{name}.nii.gz") for name in names]
        csv.writer(stream).writerows([("name", "fixed", "moving"), *rows])
    return folder / "cases.csv"


def _nothing(waiting: list[Case]) -> list:
    """Do the cases that are not done: there is none."""
    assert not waiting, f"{len(waiting)} cases are not done"
    return []


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
        row |= {"client CPU seconds": client, "scheduler CPU seconds": scheduler}
        row |= {"client MB": memory_mb(os.getpid()), "scheduler MB": memory_mb(self._scheduler)}
        self.rows.append({name: round(value, 1) for name, value in row.items()})
        print(*(f"{name} {value}" for name, value in self.rows[-1].items()), sep=", ", flush=True)

    def _cpu_seconds(self) -> tuple[float, float]:
        return cpu_seconds(os.getpid()), cpu_seconds(self._scheduler)
