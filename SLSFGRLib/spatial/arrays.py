"""Convert between NumPy arrays and tensors without PyTorch's own NumPy support.

The last PyTorch for Intel Macs, 2.2, was built for NumPy 1. With NumPy 2, which Slicer has, ``torch.from_numpy``,
``Tensor.numpy`` and all functions that take arrays raise "Numpy is not available". DLPack works with both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def tensor_from_array(
    array: np.ndarray, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Turn an array into a tensor, which shares its memory where it can.

    :param dtype, device: of the tensor; by default the array's type, in main memory.
    """
    import torch

    return torch.from_dlpack(np.require(array, requirements=("C", "W"))).to(device=device, dtype=dtype)


def array_from_tensor(tensor: torch.Tensor) -> np.ndarray:
    """Copy a tensor from any device to an array of the same type."""
    import torch

    array = np.empty(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
    torch.from_dlpack(array).copy_(tensor.detach())
    return array
