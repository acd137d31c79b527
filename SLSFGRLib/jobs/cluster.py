"""Do the cases of a batch on Dask workers: processes of this machine, or of a running cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..modes import DEFORMABLE, RIGID
from ..registration.costs import expected_costs
from ..runtime.memory import available_memory
from ..runtime.process import set_up_process
from ..version import VERSION
from .case_work import do_case, failed_row
from .cases import SEGMENT, Case

if TYPE_CHECKING:
    from distributed import Client

NO_DASK = "this needs Dask; install it with: pip install 'slsfgr[cluster]'."
SCHEDULER_GONE = "the Dask scheduler has ended; start it and its workers again; the same command continues the batch."
# A whole head at 1 mm: what a worker's memory must be enough for.
HEAD = ((256, 256, 256), (1.0, 1.0, 1.0))
# How long to wait for a scheduler, and for its first worker, in seconds.
ANSWER_SECONDS, WORKER_SECONDS = 10, 60
# A worker process keeps the memory that a case has freed, for the next one. Dask must neither write the little that it
# holds itself to the disk for that, nor stop giving it cases.
MEMORY = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")}
# Workers end because of the case that they work on: after so many, it is given up.
MOST_DEATHS = 2
LOCAL = MEMORY | {"distributed.scheduler.allowed-failures": MOST_DEATHS - 1}


def affordable_workers(wanted: int, cases: Sequence[Case]) -> tuple[int, str]:
    """Return how many workers fit into the memory of this machine, and a sentence if they are fewer than wanted."""
    free = available_memory()
    needed = max(map(_memory_of, cases))
    count = max(1, min(wanted, len(cases), free // needed if free else wanted))
    if count == min(wanted, len(cases)):
        return count, ""
    return count, f"The free memory, {free / 1e9:.1f} GB, is enough for {count} of {wanted} workers."


def _memory_of(case: Case) -> int:
    settings = case.settings
    if case.task == SEGMENT:
        return expected_costs((HEAD, HEAD), RIGID, "fast").memory
    return expected_costs((HEAD, HEAD), settings.get("transform", DEFORMABLE), settings["mode"]).memory


@contextmanager
def local_client(workers: int) -> Iterator[Client]:
    """Start so many workers on this machine, each with an equal part of its cores.

    :raises InputError: Dask is not installed.
    """
    dask, distributed = _dask()
    import logging

    with dask.config.set(LOCAL):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=(available_memory() or 0) // workers or None,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    with cluster, distributed.Client(cluster) as client:
        yield client


@contextmanager
def cluster_client(address: str) -> Iterator[Client]:
    """Connect to a running scheduler.

    :raises InputError: none answers, or it has no workers.
    """
    _, distributed = _dask()
    try:
        client = distributed.Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{address}: no Dask scheduler answers; start one with 'dask scheduler' and give the address that it shows."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise InputError(f"{address}: has no workers; start one with 'dask worker {address}'.") from error
        yield client


def cores_for_each(workers: int) -> int:
    """Return how many threads each of so many workers may use on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, cores // workers)


def do_on_workers(
    client: Client,
    cases: Sequence[Case],
    output: Path,
    threads: int | None,
    work: Callable[[Case, Path, str, int | None], dict] | None = None,
) -> Iterator[tuple[Case, dict]]:
    """Do cases on the workers of a cluster, and yield each with its line of the table of results.

    As many are handed out at a time as there are workers, so that neither the scheduler nor this process fills up, and
    a worker that ends takes one case with it, which Dask hands to another.

    :param threads: for each case; None for as many as its worker has.
    :param work: what is done with a case; :func:`work_on_case` by default.
    :raises InputError: the scheduler ends.
    """
    import distributed

    waiting = iter(cases)
    running: dict[distributed.Future, Case] = {}
    finished = distributed.as_completed()

    def hand_out() -> None:
        while len(running) < max(1, len(client.nthreads())):
            case = next(waiting, None)
            if case is None:
                return
            future = client.submit(work or work_on_case, case, output, VERSION, threads, pure=False)
            running[future] = case
            finished.add(future)

    try:
        hand_out()
        while running:
            future = next(finished)
            case = running.pop(future)
            error = future.exception()
            row = future.result() if error is None else failed_row(case, _reason(error))
            # Dask forgets a result when nobody holds it.
            del future
            yield case, row
            hand_out()
    except (OSError, CancelledError) as error:
        raise InputError(SCHEDULER_GONE) from error
    finally:
        with suppress(OSError):
            client.cancel(list(running))


def work_on_case(case: Case, output: Path, version: str, threads: int | None) -> dict:
    """Do a case in a worker; this runs there.

    :param version: of the library that handed it out.
    """
    if version != VERSION:
        return failed_row(
            case, f"the worker has version {VERSION} of slsfgr, not {version}; install the same one there."
        )
    _set_up(threads or _own_threads())
    return do_case(case, output)


@cache
def _set_up(threads: int) -> None:
    """Set this process up for long computations."""
    set_up_process()
    import SimpleITK as sitk
    import torch

    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _own_threads() -> int:
    """Return how many threads the worker that this runs in was given."""
    from distributed import get_worker

    return get_worker().state.nthreads


def _reason(error: BaseException) -> str:
    """Return why Dask could not do a case, in a sentence."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "the process that worked on it was ended each time, perhaps because its memory was full; try it alone."
    if isinstance(error, ModuleNotFoundError) or "deserialization" in str(error):
        return "the scheduler or a worker lacks slsfgr or one of its packages; install the same versions there."
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _dask() -> tuple:
    try:
        import dask
        import distributed
    except ModuleNotFoundError as error:
        raise InputError(NO_DASK) from error
    return dask, distributed
