"""Choose where to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ..errors import InputError
from .memory import MEMORY_IS_FULL, is_out_of_memory

T = TypeVar("T")
CARD_IS_FULL = "The graphics card's memory was too small; the work was done on the CPU."

# Free memory in bytes that ``auto`` asks of a card. A registration at 1 mm takes 2.3 GB (docs/benchmarks.md).
MIN_CUDA_MEMORY = 3_000_000_000


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``auto`` takes a CUDA device if there is one with enough memory left. Apple's MPS is never chosen: it lacks 3-D
    operations.

    :raises InputError: the name is none of these, or there is no such device here.
    """
    if name == "auto":
        has_room = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] >= MIN_CUDA_MEMORY
        return torch.device("cuda" if has_room else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number == "" or number.isdigit()):
        raise InputError(f"device {name!r}: there is no such device; use auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise InputError(f"device {name!r}: PyTorch finds no CUDA device here; use auto or cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(f"device {name!r}: there are only {torch.cuda.device_count()} CUDA devices.")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return a device's name for a report: the card's own name, or the number of CPU threads in use."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'' if threads == 1 else 's'})"


def with_cpu_fallback(name: str, work: Callable[[torch.device, list[str]], T]) -> T:
    """Work on a device; ``auto`` continues on the CPU if the card's memory is too small.

    :param name: as for :func:`choose_device`.
    :param work: takes the device and a list of sentences for the report.
    :raises InputError: there is no such device, or its memory is too small.
    """
    device, notes = choose_device(name), []
    if device.type == "cuda":
        try:
            return work(device, notes)
        except torch.cuda.OutOfMemoryError as error:
            if name != "auto":
                raise InputError(f"device {name!r}: its memory is too small; use auto or cpu.") from error
        torch.cuda.empty_cache()
        device, notes = torch.device("cpu"), [CARD_IS_FULL]
    try:
        return work(device, notes)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(MEMORY_IS_FULL) from error
