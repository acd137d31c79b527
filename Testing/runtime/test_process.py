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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.parametrize(("how", "low", "high"), [("kept", 95e6, 120e6), ("as usual", -5e6, 5e6)])
def test_freed_memory_is_kept_and_used_again(how, low, high):
    run = subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True)
    assert low < int(run.stdout) < high


def test_waiting_threads_sleep_soon_unless_the_user_has_said_otherwise():
    code = "import os; from SLSFGRLib.runtime.process import set_up_process; set_up_process(); print("
    code += "os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])"
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"KMP_BLOCKTIME": "7"},
    )
    assert run.stdout.split() == ["2000", "7"]


def test_cycles_are_looked_for_seldom_but_not_never():
    code = "import gc; from SLSFGRLib.runtime.process import set_up_process; set_up_process(); "
    run = subprocess.run(
        [sys.executable, "-c", code + "print(gc.get_threshold()[0], gc.isenabled())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["100000", "True"]
