"""Training in several processes that ``torchrun`` starts: each computes a part of every step's examples.

The processes begin with the same weights and add up their gradients in each step, so that the weights stay the same in
all. Networks are small and methods call parts of them, so one sum over all gradients replaces
``DistributedDataParallel``. Without ``torchrun`` there is one process, and every function here does nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import torch
import torch.distributed as dist

from ..errors import InputError

T = TypeVar("T")
# Others may read and align images for hours. If a process has ended, torchrun ends the others at once.
LONGEST_WAIT = timedelta(days=2)
STORE_SECONDS = 10
FAILED = 2


class ProcessLostError(InputError):
    """Another process of this training has ended."""


def rank() -> int:
    """Return this process's number; 0 is the one that writes."""
    return dist.get_rank() if _is_joined() else 0


def process_count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _is_joined() else 1


@contextmanager
def joined_processes(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, and give the name of this one's device.

    If the training ends with an error, the first process that notices reports it, and the others end in silence.

    :param device: ``auto``, ``cpu`` or ``cuda``; without ``torchrun`` also ``cuda:N``.
    :raises InputError: there are fewer graphics cards than processes on this machine.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield device
        return
    try:
        device = _own_device(device)
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=LONGEST_WAIT)
        yield device
    except (InputError, OSError, KeyboardInterrupt):
        _ignore_requests_to_end()
        if not _is_first_to_report():
            os._exit(FAILED)
        raise


def share(items: Iterable[T]) -> Iterator[T]:
    """Return every n-th item, beginning with this process's number: its share among n processes."""
    return islice(items, rank(), None, process_count())


def gather(values: list[T]) -> list[T]:
    """Return what all processes made of their shares, in the order of the items."""
    count = process_count()
    if count == 1:
        return values
    parts: list[list[T]] = [[] for _ in range(count)]
    with _others():
        dist.all_gather_object(parts, values)
    return [parts[number % count][number // count] for number in range(sum(map(len, parts)))]


def add_up_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over all processes; what has none in any process still has none."""
    if process_count() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    has_gradient = torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    sums = torch.cat([has_gradient, *(parameter.grad.flatten() for parameter in trained)])
    with _others():
        dist.all_reduce(sums)
    counts, *sums = sums.split([len(trained), *(parameter.numel() for parameter in trained)])
    for parameter, count, total in zip(trained, counts.tolist(), sums, strict=True):
        parameter.grad = parameter.grad.copy_(total.view(parameter.shape)) if count else None


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process do something before all others do it, such as preparing files that all read."""
    if process_count() > 1 and rank() > 0:
        _wait_for_all()
    yield
    if process_count() > 1 and rank() == 0:
        _wait_for_all()


def _wait_for_all() -> None:
    with _others():
        dist.barrier()


@contextmanager
def _others() -> Iterator[None]:
    """Communicate with the other processes.

    :raises ProcessLostError: one of them does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        _ignore_requests_to_end()
        raise ProcessLostError("another process of this training has ended") from error


def _ignore_requests_to_end() -> None:
    """Let this process report why it ends; torchrun asks all to end as soon as one has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _own_device(device: str) -> str:
    """Return the name of this process's device: each has a graphics card of its own."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not device.startswith("cuda"):
        return device
    number, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device != "cuda":
        raise InputError(f"--device {device} is one card; leave it out under torchrun, or give cpu or cuda.")
    if number >= cards:
        raise InputError(
            f"there are {cards} CUDA devices here, fewer than processes; give torchrun --nproc_per_node {cards}."
        )
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def _is_first_to_report() -> bool:
    """Return whether no other process has reported an error yet, as torchrun's store counts it."""
    if process_count() == 1:
        return True
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS))
        return store.add(f"slsfgr reports {os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1
    except RuntimeError:
        return rank() == 0
