"""How much memory there is to work in."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

PROC = Path("/proc/meminfo")
# What a container or a cluster's job may use, and uses: the two versions of Linux' control groups.
CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes that this process can still take without pushing others out; None where the system does not tell."""
    if sys.platform == "win32":
        return _of_windows()
    if PROC.is_file():
        return min([_of_linux(PROC.read_text()), *_of_control_groups()])
    # macOS tells what is built in, and lends what others do not use.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in os.sysconf_names else None


def _of_linux(table: str) -> int:
    """From the text of /proc/meminfo."""
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
