"""Acceleration of the training on a GPU: mixed precision and compiled networks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """Return a context in which convolutions use bfloat16 on a GPU that can; fields and losses stay in float32.

    On a CPU nothing changes: there bfloat16 takes longer.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def compile_parts(network: torch.nn.Module, device: torch.device) -> None:
    """Compile the parts of a network on a GPU, if Triton is installed; the names of its weights do not change.

    :param network: its parts that are lists of others are left as they are.
    """
    if device.type != "cuda" or find_spec("triton") is None:
        return
    # If a part cannot be compiled, or the machine has no compiler, it runs as it is.
    torch._dynamo.config.suppress_errors = True
    for part in network.children():
        if not isinstance(part, torch.nn.ModuleList):
            part.forward = torch.compile(part.forward)
