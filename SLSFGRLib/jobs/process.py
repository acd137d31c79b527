"""Jobs in a child process, seen from its parent; the child runs :mod:`SLSFGRLib.jobs.worker`.

Nothing here blocks or needs a thread: the child writes its messages to files, which :meth:`JobProcess.poll` reads, and
images are written and read in pieces. The parent stays responsive, and neither a cancel nor a crash of the child
affects it. NumPy and SimpleITK are loaded when a job is handed over, not before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.progress import ProgressCallback

if TYPE_CHECKING:
    from .job import Job, JobResult

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no SIGKILL
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # otherwise Windows opens a console
# How long to wait for a killed process to be gone.
WAIT_SECONDS = 2.0
# How long to try to remove the folder of a process that has ended. Chosen, not measured.
REMOVE_SECONDS = 0.2
# How long one call writes or reads images.
STEP_SECONDS = 0.1


class JobProcess:
    """A child process that does jobs, one after the other. It starts, and loads torch, before a job is given.

    :param temporary: where a folder for the jobs is made; :meth:`discard` removes it, or the end of the process.
    :param command: program and arguments that run the worker; the folder is appended to them.
    """

    def __init__(self, temporary: Path | str, command: Sequence[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="SLSFGR-", dir=temporary))
        self._messages, self._log = _Tail(self._folder / "messages"), _Tail(self._folder / "log")
        self._unfinished_line = b""
        self._process: subprocess.Popen | None = None
        self._pid: int | None = None
        self._problem: str | None = None
        self._job: Job | None = None
        self._writing: Iterator[None] | None = None
        self._reading: Iterator[JobResult | None] | None = None
        self._result: JobResult | None = None
        self._is_done = False
        try:
            self._process = self._started([*command, str(self._folder)])
        except OSError as error:
            self._problem = f"Python could not be started: {error}."

    def _started(self, command: list[str]) -> subprocess.Popen:
        with self._messages.path.open("wb") as messages, self._log.path.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # closes when this process ends, for any reason; the worker then ends, too
                stdout=messages,
                stderr=log,
                cwd=Path(__file__).resolve().parents[2],
                creationflags=NO_WINDOW,
            )

    def is_alive(self) -> bool:
        """Return whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(
        self,
        job: Job,
        on_progress: ProgressCallback,
        on_log: Callable[[str], object],
        on_end: Callable[[JobResult | None, str], object],
    ) -> None:
        """Start a job when the one before has ended; :meth:`poll` hands over the images and calls the callbacks.

        :param on_progress: called with the fraction done and a message.
        :param on_log: called with new text of the log.
        :param on_end: called once, with the result or None, and with what went wrong, in one sentence; the sentence is
            empty after a cancel.
        """
        from .job import save_job_in_steps

        self._on_progress, self._on_log, self._on_end = on_progress, on_log, on_end
        self._writing = save_job_in_steps(job, self._folder / "unfinished", self._job)
        next(self._writing, None)
        self._job = job

    def poll(self) -> None:
        """Call the callbacks with what is new; call this some times a second until ``on_end`` was called.

        A job is written, and a result read, in several calls; the result is handed over in the next: each call is
        short.
        """
        if self._writing is not None and self.is_alive():
            self._write_on()
            return
        if self._result is not None:
            self._end(self._result, "")
            return
        if self._reading is not None:
            self._read_on()
            return
        has_ended = not self.is_alive()
        for message in self._new_messages():
            if "fraction" in message and self._problem is None:
                self._on_progress(message["fraction"], message["message"])
        log = self._log.new_bytes().decode(errors="replace").rstrip()
        if log:
            self._on_log(log)
        if self._is_done and self._problem is None:
            self._read_on()
        elif self._is_done and self._problem:
            self._end(None, self._problem)
        elif has_ended:
            self._forget_steps()
            _remove(self._folder)
            unexpected = "The computation ended unexpectedly. The log tells more."
            self._end(None, unexpected if self._problem is None else self._problem)

    def cancel(self) -> None:
        """Kill the process; the next :meth:`poll` that finds it gone calls ``on_end``."""
        self._new_messages()
        self._forget_steps()
        self._problem, self._result = "", None
        if self._process is None:
            return
        if self._pid is not None and self.is_alive():
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                os.kill(self._pid, KILL)
        self._process.stdin.close()  # ends the worker, also if its process id is not known yet
        self._process.kill()  # the launcher's process, where one stands between

    def discard(self) -> None:
        """Kill the process, wait until it is gone, and call no callback any more."""
        self.cancel()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(WAIT_SECONDS)
        _remove(self._folder)

    def _new_messages(self) -> list[dict]:
        *lines, self._unfinished_line = (self._unfinished_line + self._messages.new_bytes()).split(b"\n")
        messages = list(filter(None, map(_message, lines)))
        for message in messages:
            self._pid = message.get("pid", self._pid)
            if "error" in message and self._problem is None:
                self._problem = message["error"]
            self._is_done = self._is_done or "done" in message or "error" in message
        return messages

    def _write_on(self) -> None:
        """Write the next pieces of the job; the process takes it when all are there."""
        end = time.monotonic() + STEP_SECONDS
        try:
            for _step in self._writing:
                if time.monotonic() > end:
                    return
            (self._folder / "unfinished").rename(self._folder / "job")
            self._writing = None
        except OSError as error:
            self.discard()
            self._end(None, f"The volumes could not be written to {self._folder.parent}: {error.strerror}.")

    def _read_on(self) -> None:
        """Read the next pieces of the result."""
        from .job import JobResult

        end = time.monotonic() + STEP_SECONDS
        try:
            self._reading = self._reading or JobResult.load_in_steps(self._folder / "result")
            while self._result is None and time.monotonic() < end:
                self._result = next(self._reading)
        except Exception:
            self.discard()
            self._end(None, "The result could not be read.")
            raise
        if self._result is not None:
            _remove(self._folder / "result")  # the next job's takes its place

    def _end(self, result: JobResult | None, problem: str) -> None:
        self._reading, self._result, self._problem, self._is_done = None, None, None, False
        self._on_end(result, problem)

    def _forget_steps(self) -> None:
        """Stop writing and reading, and close the files, which Windows would not remove."""
        for steps in filter(None, (self._writing, self._reading)):
            steps.close()
        self._writing = self._reading = None


def _message(line: bytes) -> dict | None:
    """Read a line of the worker's; None for what others print before it, such as a ``sitecustomize``."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _remove(folder: Path) -> None:
    """Remove a folder; on Windows a process that was killed keeps its files for a moment."""
    end = time.monotonic() + REMOVE_SECONDS
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > end:
            return
        if folder.exists():
            time.sleep(0.02)


class JobRunner:
    """A runner of one job after the other; a process stands by for the next, with torch loaded.

    A process that has ended a job does the next, too, and still has what it knows about the fixed image;
    :meth:`release` ends it, and frees its memory.

    :param temporary, command: as for :class:`JobProcess`; both may be changed between jobs.
    """

    def __init__(self, temporary: Path | str, command: Sequence[str]) -> None:
        self.temporary, self.command = temporary, command
        self._running: JobProcess | None = None
        self._free: JobProcess | None = None
        self._standby: JobProcess | None = None

    @property
    def is_running(self) -> bool:
        """Return whether a job was started for which ``on_end`` was not called yet."""
        return self._running is not None

    def stand_by(self, ready: bool) -> None:
        """Keep a process ready for the next job, or none."""
        if self._standby and not (ready and self._standby.is_alive()):
            self._standby.discard()
            self._standby = None
        if ready and not self._standby:
            with contextlib.suppress(OSError):  # a full disk: the job will report it
                self._standby = JobProcess(self.temporary, self.command)

    def start(
        self,
        job: Job,
        on_progress: ProgressCallback,
        on_log: Callable[[str], object],
        on_end: Callable[[JobResult | None, str], object],
    ) -> None:
        """Start a job, as :meth:`JobProcess.start` does. Only one runs at a time."""

        def end(result: JobResult | None, problem: str) -> None:
            self._free, self._running = self._running, None
            on_end(result, problem)

        process = self._process()
        try:
            process.start(job, on_progress, on_log, end)
        except Exception:  # the disk may be full
            process.discard()
            raise
        self._running = process

    def _process(self) -> JobProcess:
        """Return a process that is ready for a job, or about to be."""
        if self._free and self._free.is_alive():
            process, self._free = self._free, None
            return process
        self.release()
        self.stand_by(True)
        process, self._standby = self._standby or JobProcess(self.temporary, self.command), None
        return process

    def release(self) -> None:
        """End the process that has done the last job and waits for another."""
        if self._free:
            self._free.discard()
            self._free = None

    def poll(self) -> None:
        """Call the callbacks with what is new; call this some times a second while a job is running."""
        if self._running:
            self._running.poll()

    def cancel(self) -> None:
        """End the job that is running; a later :meth:`poll` reports its end."""
        if self._running:
            self._running.cancel()

    def discard(self) -> None:
        """End the job that is running, wait until it is gone, and call no callback any more."""
        self.release()
        if self._running:
            self._running.discard()
            self._running = None


class _Tail:
    """A file that another process is writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = 0

    def new_bytes(self) -> bytes:
        """Return what was written since the last call."""
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(self._place)
            found = file.read()
        self._place += len(found)
        return found
