"""Wait until standard input closes, which tells a child process that its parent has ended."""

from __future__ import annotations

import os
import sys
import time

# Chosen, not measured: short for a user, rare for the processor.
POLL_SECONDS = 0.2
# Windows' error code of a pipe whose other end is closed.
ERROR_BROKEN_PIPE = 109


def wait_for_closed_input() -> None:
    """Return when standard input, a pipe to which nothing needs to be written, is closed at its other end.

    On Windows no read is ever pending: it would block everything else that uses the pipe. The libraries that torch
    loads ask for the type of each standard handle, so that ``import torch`` would not return.
    """
    if sys.platform == "win32":
        _poll_pipe()
    else:
        # Not through Python's buffer, whose lock would be held when the interpreter ends.
        while os.read(0, 1024):
            pass


def _poll_pipe() -> None:
    import ctypes
    import msvcrt
    from ctypes import wintypes

    peek = ctypes.WinDLL("kernel32", use_last_error=True).PeekNamedPipe
    peek.argtypes = (wintypes.HANDLE, wintypes.LPVOID, wintypes.DWORD, *3 * (wintypes.LPDWORD,))
    handle = msvcrt.get_osfhandle(0)
    while peek(handle, None, 0, None, None, None) or ctypes.get_last_error() != ERROR_BROKEN_PIPE:
        time.sleep(POLL_SECONDS)
