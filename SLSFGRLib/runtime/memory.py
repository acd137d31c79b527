"""Measure the free memory, and recognise that it is exhausted."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

PROC = Path("/proc/meminfo")
VM_STAT = Path("/usr/bin/vm_stat")
# What a container or a cluster's job may use, and uses: the two versions of Linux' control groups.
CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
MEMORY_IS_FULL = "the memory of this computer is too small for these images; close other programs, or crop the images."
# The allocators of PyTorch, ITK and C++ raise RuntimeError with, not MemoryError.
OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator", "not enough memory", "Failed to allocate memory", "bad_alloc")


def available_memory() -> int | None:
    """Return the bytes that this process can still take without swapping; None if the system does not tell."""
    if sys.platform == "win32":
        return _of_windows()
    if PROC.is_file():
        return min([_of_linux(PROC.read_text()), *_of_control_groups()])
    return _of_macos(subprocess.run(["vm_stat"], capture_output=True, text=True).stdout) if VM_STAT.is_file() else None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, PyTorch or ITK says that memory is exhausted."""
    says_so = isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
    return says_so or isinstance(error, MemoryError)


def _of_macos(table: str) -> int:
    """Read the output of vm_stat: what is free, or can be freed without writing to the disk."""
    page = int(re.search(r"page size of (\d+) bytes", table)[1])
    counts = dict(re.findall(r"^Pages (free|inactive|speculative|purgeable):\s+(\d+)", table, re.MULTILINE))
    return page * sum(map(int, counts.values()))


def _of_linux(table: str) -> int:
    """Read the text of /proc/meminfo."""
    rows = dict(line.split(":", 1) for line in table.splitlines() if ":" in line)
    return 1024 * int(rows["MemAvailable"].split()[0])


def _of_control_groups() -> list[int]:
    found = []
    for limit, usage in CONTROL_GROUPS:
        texts = [Path(name).read_text().strip() for name in (limit, usage) if Path(name).is_file()]
        # "max" says that there is no limit.
        if len(texts) == 2 and all(text.isdigit() for text in texts):
            found.append(max(0, int(texts[0]) - int(texts[1])))
    return found


def _of_windows() -> int:
    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "available", "page_total", "page_available", "own_total", "own_available", "extended")
        ]

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available)
