"""Choosing where to compute."""

from __future__ import annotations

import torch

from ..errors import InputError

# Of a registration at 1 mm, in bytes.
LEAST_CUDA_MEMORY = 3_000_000_000


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``auto`` takes a CUDA device if there is one with enough memory left. Apple's MPS is never chosen: it lacks 3-D
    operations.

    :raises InputError: the name is none of these, or there is no such device here.
    """
    if name == "auto":
        has_room = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] >= LEAST_CUDA_MEMORY
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
    """A device's name for a report: the card's own name, or the number of CPU threads in use."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'' if threads == 1 else 's'})"
