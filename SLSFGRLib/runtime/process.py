"""How a process of our own is set up before torch is loaded: for speed alone, no result depends on it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# Of GNU's OpenMP, and of Intel's and LLVM's.
WAITING = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
# Parameters of glibc's mallopt: memory is kept though so many bytes at its end are free, is taken from one place by
# all threads, and no large block is asked of the system by itself.
M_TRIM_THRESHOLD, M_ARENA_MAX, M_MMAP_MAX = -1, -8, -4
ALLOCATION = {M_TRIM_THRESHOLD: 1_000_000_000, M_ARENA_MAX: 1, M_MMAP_MAX: 0}
# New objects after which Python looks for unreachable cycles.
COLLECTION_THRESHOLD = 100_000


def set_up_process() -> None:
    """Set the process up for long work; never to be called in one that is not ours, such as Slicer's."""
    wait_patiently()
    keep_freed_memory()
    collect_garbage_seldom()


def wait_patiently() -> None:
    """Let threads that wait sleep soon; to be called before torch is loaded.

    By default they spin for long. On a machine that has anything else to do, a run then takes ten times as long
    (docs/develop/experiments.md); on an idle one, spinning briefly costs nothing. What the user has set is left alone.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)


def keep_freed_memory() -> None:
    """Use the memory of freed tensors again in place of giving it back to the system and asking for it anew.

    The system fills each page that it gives with zeros: on Linux that was a fifth of the time of ``standard``
    (docs/develop/experiments.md). Other C libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in ALLOCATION.items():
            mallopt(parameter, value)


def collect_garbage_seldom() -> None:
    """Look for unreachable cycles of Python objects less often; to be called before torch is loaded.

    Loading torch makes so many objects that a sixth of its time went into looking among them again and again
    (docs/develop/experiments.md). Images and fields are freed at once as before: they are in no cycles.
    """
    gc.set_threshold(COLLECTION_THRESHOLD)
