"""The end of the parent process, seen on standard input."""

import ctypes
import os
import select
import sys
import threading
import types

import pytest

from SLSFGRLib.runtime import standard_input

HANDLE = 0x1F4


@pytest.fixture
def pipe(monkeypatch):
    """The other end of standard input."""
    reading, writing = os.pipe()
    before = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(before, 0)
    os.close(before)


class PeekNamedPipe:
    """Windows' function, for standard input; it gives 0 on failure."""

    argtypes = None
    error = 0

    def __call__(self, handle, *arguments):
        assert len(self.argtypes) == 1 + len(arguments)
        assert (handle, arguments) == (HANDLE, (None, 0, None, None, None))
        poll = select.poll()
        poll.register(0, select.POLLIN)
        is_closed = any(event == select.POLLHUP for _, event in poll.poll(0))
        self.error = 109 if is_closed else self.error
        return 0 if self.error else 1


def on_windows(monkeypatch):
    peek = PeekNamedPipe()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(get_osfhandle=lambda descriptor: HANDLE))
    kernel = {"kernel32": types.SimpleNamespace(PeekNamedPipe=peek)}
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel[name], raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: peek.error, raising=False)
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("a read blocks whatever else uses the pipe"))
    return peek


@pytest.mark.parametrize("is_windows", [False, True])
def test_the_wait_ends_when_the_parent_closes_the_pipe_and_not_before(pipe, monkeypatch, is_windows):
    if is_windows:
        on_windows(monkeypatch)
    waiting = threading.Thread(target=standard_input.wait_for_closed_input, daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    os.close(pipe)
    waiting.join(5)
    assert not waiting.is_alive()


def test_on_windows_another_error_than_a_broken_pipe_ends_nothing(pipe, monkeypatch):
    peek = on_windows(monkeypatch)
    peek.error = 6  # a console, not a pipe
    monkeypatch.setattr(standard_input, "POLL_SECONDS", 0.01)
    waiting = threading.Thread(target=standard_input.wait_for_closed_input, daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    os.close(pipe)
    waiting.join(5)
    assert not waiting.is_alive()
