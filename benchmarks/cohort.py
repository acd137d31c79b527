"""Check batches on a Dask cluster of true processes: ``python -m benchmarks.cohort --output DIR --cases 60``.

Small cases, made of the brains in shared/data, run on a scheduler and two workers. One image is corrupt, and the folder
of one case is a full disk (a tmpfs of 1 MB, which only root can make; others do without). After a third of the cases
a worker is killed and another one is started. After half of them the command is stopped; then it is repeated twice, and
once more when the disk has room again. It is checked that every good case is done once and that none is repeated.

``--simulate N`` replaces the work by a sleep, and measures memory and time of scheduler and client instead.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .cohort_cases import CORRUPT, FULL_DISK, write_cases
from .csv_tables import rows
from .dask_processes import DaskProcesses, cpu_seconds
from .data import ROOT

WORKERS = 2
OPTIONS = ("--mode", "fast", "--transform", "deformable", "--threads", "1")
DISK_SIZE = "1m"


def main() -> None:
    """Run the check or the simulation; write its figures to ``figures.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--cases", type=int, default=60, metavar="N")
    parser.add_argument("--spacing", type=float, default=4.0, metavar="MM", help="voxel size (default: 4)")
    parser.add_argument("--simulate", type=int, metavar="N", help="N cases that only sleep")
    given = parser.parse_args()
    given.output.mkdir(parents=True)
    if given.simulate:
        from .simulated_cohort import simulate

        figures = simulate(given.simulate, given.output, WORKERS)
    else:
        table = write_cases(given.output / "images", given.cases, given.spacing)
        figures = Check(table, given.output.resolve(), given.cases).run()
    text = json.dumps(figures, indent=2)
    (given.output / "figures.json").write_text(f"{text}\n")
    print(text)


@dataclass
class Check:
    """A batch with everything that goes wrong.

    :param folder: for the results, the logs and the full disk.
    :param count: of the table's cases.
    """

    table: Path
    folder: Path
    count: int

    def run(self) -> dict[str, object]:
        """Run the batch with its interruptions, and return the figures.

        :raises AssertionError: something was lost or repeated.
        """
        disk = FullDisk(self.results / FULL_DISK)
        failing = {CORRUPT, FULL_DISK} if disk.mounted else {CORRUPT}
        try:
            with DaskProcesses(self.folder / "dask", WORKERS) as dask:
                figures = self._interrupted(dask)
                before = self.finished()
                self._batch(dask, "again", failing)
                assert self.finished() == before, "cases were repeated"
                disk.remove()
                self._batch(dask, "disk with room", {CORRUPT})
                after = self.finished()
        finally:
            disk.remove()
        assert {name: after[name] for name in before} == before, "cases were repeated"
        assert len(after) == self.count - 1, f"{len(after)} cases are done"
        assert not list(self.results.rglob(".slsfgr-*")), "something half-written is left"
        return figures | {"failed while the disk was full": sorted(failing), "done in the end": len(after)}

    def _interrupted(self, dask: DaskProcesses) -> dict[str, object]:
        """Kill a worker after a third of the cases, stop the command after half of them, and repeat it."""
        first = self._start(dask, "first")
        self._wait(first, self.count // 3)
        dask.kill_worker()
        dask.add_worker()
        self._wait(first, self.count // 2)
        os.killpg(first.pid, signal.SIGTERM)
        assert first.wait() == 130, "the command did not end with 130"
        stopped = self.finished()
        mounted = os.path.ismount(self.results / FULL_DISK)
        used = cpu_seconds(dask.scheduler.pid)
        begin = time.time()
        client_seconds = self._batch(dask, "resumed", {CORRUPT, FULL_DISK} if mounted else {CORRUPT})
        used = cpu_seconds(dask.scheduler.pid) - used
        after = self.finished()
        assert {name: after[name] for name in stopped} == stopped, "cases were repeated"
        times = [times for name, times in work_times(self.results).items() if name not in stopped]
        in_vain = sum(float(row["seconds"]) for row in self._rows() if row["status"] != "done")
        work = sum(end - start for start, end in times) + in_vain
        return {
            "cases": self.count,
            "done when stopped": len(stopped),
            "resumed, seconds": round(time.time() - begin, 1),
            "resumed, seconds of work by all workers": round(work, 1),
            "resumed, CPU seconds of client and scheduler": [round(client_seconds, 1), round(used, 1)],
            "resumed, share of the workers' time without work": round(idle_share(times, in_vain, WORKERS), 4),
        }

    @property
    def results(self) -> Path:
        """The folder of the batch."""
        return self.folder / "results"

    def finished(self) -> dict[str, int]:
        """Return when each case that is done was written, in ns."""
        return {path.parent.name: path.stat().st_mtime_ns for path in self.results.glob("*/case.json")}

    def _start(self, dask: DaskProcesses, name: str) -> subprocess.Popen:
        words = ("batch", str(self.table), "--output", str(self.results), "--scheduler", dask.address)
        command = [sys.executable, "-m", "SLSFGRLib", *words, *OPTIONS]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        print(f"{time.strftime('%H:%M:%S')} {name}: {len(self.finished())} cases are done", flush=True)
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, process_group=0)

    def _wait(self, batch: subprocess.Popen, count: int) -> None:
        while len(self.finished()) < count:
            assert batch.poll() is None, "the batch has ended"
            time.sleep(0.2)

    def _batch(self, dask: DaskProcesses, name: str, failing: set[str]) -> float:
        """Run the command to its end, check its table, and return its CPU time in seconds."""
        batch = self._start(dask, name)
        _, status, usage = os.wait4(batch.pid, 0)
        batch.returncode = os.waitstatus_to_exitcode(status)
        assert batch.returncode == 2, f"{name}: the command ended with {batch.returncode}"
        rows = self._rows()
        assert len(rows) == len({row["name"] for row in rows}) == self.count, f"{name}: {len(rows)} lines"
        failed = {row["name"]: row["problem"] for row in rows if row["status"] != "done"}
        print(*(f"  {case}: {problem}" for case, problem in failed.items()), sep="\n", flush=True)
        assert set(failed) == failing, f"{name}: failed are {sorted(failed)}"
        return usage.ru_utime + usage.ru_stime

    def _rows(self) -> list[dict[str, str]]:
        """Return the table of results."""
        return rows(self.results / "results.csv")


class FullDisk:
    """A folder on a file system that is too small for a case; as a user other than root, an ordinary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)]
        self.mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
        if not self.mounted:
            print("No small file system can be mounted here; the full disk is left out.", flush=True)

    def remove(self) -> None:
        """Leave an ordinary folder."""
        if self.mounted:
            subprocess.run(["umount", str(self._folder)], check=True)
        self.mounted = False


def work_times(results: Path) -> dict[str, tuple[float, float]]:
    """Return when the work on each case that is done began and ended, in seconds."""
    times = {}
    for path in results.glob("*/case.json"):
        end = path.stat().st_mtime
        times[path.parent.name] = (end - json.loads(path.read_text())["row"]["seconds"], end)
    return times


def idle_share(times: list[tuple[float, float]], in_vain: float, workers: int) -> float:
    """Return the share of the workers' time without work, from the first case's begin to the last one's begin.

    :param times: begin and end of every case that is done, in seconds.
    :param in_vain: seconds of work on cases that failed.
    """
    first, last = min(begin for begin, _ in times), max(begin for begin, _ in times)
    work = in_vain + sum(max(0.0, min(end, last) - begin) for begin, end in times)
    return 1.0 - work / (workers * (last - first))


if __name__ == "__main__":
    main()
