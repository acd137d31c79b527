"""Compute two things at once: the only place where stages of a registration start threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_background(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Call a function in a thread of its own, without gradients, and return its future.

    The thread ends with its work. An idle thread would keep its team of OpenMP threads, and more of these than cores
    slow every operation down (docs/develop/experiments.md). If PyTorch may use one thread only, as ``--threads 1``
    demands, the function is called at once instead.
    """
    if torch.get_num_threads() == 1:
        return _called(function, arguments)
    executor = ThreadPoolExecutor(max_workers=1)
    future = executor.submit(_without_gradients, function, arguments)
    executor.shutdown(wait=False)
    return future


def _called(function: Callable[..., T], arguments: tuple) -> Future[T]:
    future = Future()
    try:
        future.set_result(_without_gradients(function, arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def both(function: Callable[..., T], first: tuple, second: tuple) -> tuple[T, T]:
    """Call a function with two sets of arguments at once, and return both results."""
    other = in_background(function, *second)
    try:
        result = _without_gradients(function, first)
    finally:
        # Whatever happens here, the other call must not go on unnoticed.
        other.exception()
    return result, other.result()


# Gradients are switched off for each thread by itself.
@torch.no_grad()
def _without_gradients(function: Callable[..., T], arguments: tuple) -> T:
    return function(*arguments)
