"""Run a command or a function in a process of its own.

The experiments themselves import nothing large: on exec, Linux passes the parent's peak memory on to the child
(``ru_maxrss``), so a parent that had loaded images would falsify every figure.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import IO

THREAD_VARIABLES = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class RunError(Exception):
    """A command or function failed in its own process."""


def timed(command: list[str], log: IO, threads: int, environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run a command to its end and measure it from start to exit.

    :param log: open file for the command's output.
    :param threads: how many threads it may use.
    :param environment: further variables of its environment.
    :returns: ``seconds``; ``cpu_seconds`` of all its threads and children, which distinguish a slow program from a
        busy machine; ``memory_gb``, the peak resident memory of the process or of its largest child.
    :raises RunError: the command did not exit with 0.
    """
    variables = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | (environment or {})
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"exit {process.returncode}: {' '.join(command)}")
    cpu_seconds, memory_gb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory_gb": memory_gb}


def isolated(function: str, *arguments: object) -> object:
    """Call a function in a new process, so that this one does not load what the function needs.

    :param function: ``module:name``.
    :raises RunError: the function raised an exception.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_call, function, arguments).result()
        except Exception as error:
            raise RunError(f"{function}: {error}") from error


def _call(function: str, arguments: tuple) -> object:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(*arguments)
