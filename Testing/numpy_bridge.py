"""Do jobs with a PyTorch that was built for another NumPy: ``python numpy_bridge.py REGISTRATION SEGMENTATION``.

So is PyTorch 2.2, the last for Intel Macs, beside NumPy 2: its functions that take or give arrays raise.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from SLSFGRLib.jobs.job import load_job

MESSAGE = "Numpy is not available"


def unavailable(*_arguments, **_options):
    raise RuntimeError(MESSAGE)


def without_arrays(function):
    """Wrap a function so that it takes no arrays, nor NumPy's numbers unless they are also Python's."""

    def checked(*arguments, **options):
        if any(map(has_array, arguments)):
            raise RuntimeError(MESSAGE)
        return function(*arguments, **options)

    return checked


def has_array(value):
    if isinstance(value, list | tuple):
        return any(map(has_array, value))
    return isinstance(value, np.ndarray) or (isinstance(value, np.generic) and not isinstance(value, float))


def break_bridge():
    torch.from_numpy = torch.Tensor.numpy = torch.Tensor.__array__ = unavailable
    for name in ("tensor", "as_tensor", "asarray"):
        setattr(torch, name, without_arrays(getattr(torch, name)))
    torch.Tensor.new_tensor = without_arrays(torch.Tensor.new_tensor)


if __name__ == "__main__":
    break_bridge()
    for folder in map(Path, sys.argv[1:]):
        load_job(folder).run().save(folder / "result")
