"""What a GPU does faster: arithmetic with half the digits, and networks whose operations are fused."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """Let convolutions work with half the digits (bfloat16) on a GPU that can; fields and losses keep all of theirs.

    On a CPU nothing changes: there it takes longer.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def compile_parts(network: torch.nn.Module, device: torch.device) -> None:
    """Fuse the operations of a network's parts on a GPU, where Triton is installed; the weights stay where they are.

    :param network: parts that are mere lists of others are left as they are.
    """
    if device.type != "cuda" or find_spec("triton") is None:
        return
    # A part that cannot be compiled, or a machine without a compiler, is no reason to stop.
    torch._dynamo.config.suppress_errors = True
    for part in network.children():
        if not isinstance(part, torch.nn.ModuleList):
            part.forward = torch.compile(part.forward)
