"""A process of our own reuses freed memory and keeps the user's settings."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FREED = """
import ctypes, os, sys
import numpy as np
from SLSFGRLib.runtime.process import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if sys.argv[1] == "kept":
    keep_freed_memory()
before = resident()
for _ in range(3):
    block = np.ones(100_000_000, dtype=np.uint8)
    del block
print(resident() - before)
"""


def child(code, *words, **environment):
    """The standard output of a Python process of its own."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment or None).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.parametrize(("how", "low", "high"), [("kept", 95e6, 120e6), ("as usual", -5e6, 5e6)])
def test_freed_memory_is_kept_and_used_again(how, low, high):
    assert low < int(child(FREED, how)) < high


def test_waiting_threads_sleep_soon_unless_the_user_has_said_otherwise():
    code = "import os; from SLSFGRLib.runtime.process import set_up_process; set_up_process(); print("
    code += "os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])"
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    assert child(code, **environment | {"KMP_BLOCKTIME": "7"}).split() == ["2000", "7"]


def test_cycles_are_looked_for_seldom_but_not_never():
    code = "import gc; from SLSFGRLib.runtime.process import set_up_process; set_up_process(); "
    assert child(code + "print(gc.get_threshold()[0], gc.isenabled())").split() == ["100000", "True"]


WITHOUT_COMPILER = """
import sys
from SLSFGRLib.runtime.process import load_torch_without_compiler

load_torch_without_compiler()
import torch

print("torch._meta_registrations" in sys.modules)
slope = torch.ones(1, 1, 3, 3, 3, requires_grad=True)
torch.nn.functional.conv3d(torch.full((1, 1, 4, 4, 4), 2.0), slope).sum().backward()
print(slope.grad.unique().item())
import torch._meta_registrations

print(hasattr(torch._meta_registrations, "register_meta"))
"""


def test_torch_without_its_compiler_computes_and_the_compiler_can_be_loaded_later():
    assert child(WITHOUT_COMPILER).split() == ["False", "16.0", "True"]


THREADS = """
from SLSFGRLib.runtime.process import limit_threads

limit_threads(1)
import SimpleITK
import torch

print(torch.get_num_threads(), SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads())
"""


def test_torch_and_itk_use_so_many_threads():
    two = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "2")
    assert child(THREADS, **os.environ | two).split() == ["1", "1"]
