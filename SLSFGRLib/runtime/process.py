"""Set up a process of our own before torch is loaded, for speed; no result depends on it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from importlib import import_module
from types import ModuleType

# Environment variables of GNU's OpenMP, and of Intel's and LLVM's.
WAITING = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}
# Parameters of glibc's mallopt: return memory to the system only if more bytes than this are free at its end, let all
# threads share one arena, and request no large block from the system separately.
M_TRIM_THRESHOLD, M_ARENA_MAX, M_MMAP_MAX = -1, -8, -4
ALLOCATION = {M_TRIM_THRESHOLD: 1_000_000_000, M_ARENA_MAX: 1, M_MMAP_MAX: 0}
# Number of new objects after which Python looks for unreachable cycles. Loading torch creates so many objects that the
# search took a sixth of its time (docs/develop/experiments.md). Images and fields, in no cycles, are freed at once.
COLLECTION_THRESHOLD = 100_000
# Registers the shapes that torch's operations return, for its compiler, which its optimisers load.
COMPILER_SHAPES = "torch._meta_registrations"
# Environment variables that torch's libraries and ITK read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def set_up_process() -> None:
    """Set the process up for long computations; do not call this in another program's process, such as Slicer's."""
    reduce_spinning()
    keep_freed_memory()
    gc.set_threshold(COLLECTION_THRESHOLD)


def reduce_spinning() -> None:
    """Let waiting threads sleep soon; call this before torch is loaded.

    By default they spin for long. If other programs use the machine, a run then takes ten times as long
    (docs/develop/experiments.md); on an idle one, spinning briefly costs nothing. Variables that the user has set are
    kept.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)


def limit_threads(count: int) -> None:
    """Use so many threads for each computation; call this before torch is loaded."""
    os.environ.update(dict.fromkeys(THREADS, str(count)))


def keep_freed_memory() -> None:
    """Reuse the memory of freed tensors instead of returning it to the system and requesting it again.

    The system fills each new page with zeros: on Linux that took a fifth of the time of ``standard``
    (docs/develop/experiments.md). Nothing is changed for other C libraries than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in ALLOCATION.items():
            mallopt(parameter, value)


def load_torch_without_compiler() -> None:
    """Load torch in two thirds of the time, for a process that neither trains nor compiles.

    ``torch.optim`` does not work afterwards. A version of torch that needs the left-out module itself gets it.
    """
    if "torch" in sys.modules:
        return
    sys.modules[COMPILER_SHAPES] = _Deferred(COMPILER_SHAPES)
    try:
        import_module("torch")
    finally:
        sys.modules.pop(COMPILER_SHAPES, None)


class _Deferred(ModuleType):
    """Stands for a module that is loaded as soon as something in it is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if isinstance(sys.modules.get(self.__name__), _Deferred):
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
