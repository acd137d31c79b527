"""A job in a process of its own: Slicer stays responsive, and Cancel or a crash takes nothing else down."""

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from .engine import importLibrary, libraryFolder

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has but one way to end a process
PATIENCE_MS = 2000


class JobProcess:
    """Does one job of :mod:`SLSFGRLib.jobs`. The process starts, and loads torch, before the job is given.

    :param command: program and arguments, to which the folder of the job is added.
    """

    def __init__(self, command=None):
        self._onProgress = self._onLog = self._onEnd = None
        self._pid, self._problem, self._buffer = None, None, b""
        self._folder = Path(tempfile.mkdtemp(prefix="SLSFGR-", dir=slicer.app.temporaryPath))
        self._process = qt.QProcess()
        self._process.connect("readyReadStandardOutput()", self._onOutput)
        self._process.connect("readyReadStandardError()", self._onErrorOutput)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onProcessError)
        self._process.setWorkingDirectory(libraryFolder())
        program, *arguments = command or [pythonProgram(), "-m", "SLSFGRLib.worker"]
        self._process.start(program, [*arguments, str(self._folder)])

    def isAlive(self):
        """Whether the process has not ended."""
        return self._process.state() != qt.QProcess.NotRunning

    def start(self, job, onProgress, onLog, onEnd):
        """Do a job. The callbacks are called on the main thread.

        :param onProgress: called with the fraction done and a sentence.
        :param onLog: called with what the process writes to its log.
        :param onEnd: called once, with the result or None, and with what went wrong, in one sentence; empty
            after a cancel.
        """
        self._onProgress, self._onLog, self._onEnd = onProgress, onLog, onEnd
        if not self.isAlive():
            self._end(None)
            return
        importLibrary("SLSFGRLib.jobs").save_job(job, self._folder / "unfinished")
        (self._folder / "unfinished").rename(self._folder / "job")

    def cancel(self):
        """End the process. ``onEnd`` is called as soon as it is gone."""
        self._problem = ""
        if self._pid is not None and self.isAlive():
            with contextlib.suppress(OSError):  # it may have ended by itself
                os.kill(self._pid, KILL)
        self._process.closeWriteChannel()  # ends it if it has not told its number yet, for which a launcher stands
        self._process.kill()

    def abandon(self):
        """End the process, wait until it is gone, and call nobody any more."""
        self._onEnd = None
        self.cancel()
        self._process.waitForFinished(PATIENCE_MS)

    def _onOutput(self):
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._pid = message.get("pid", self._pid)
            if "error" in message and self._problem is None:
                self._problem = message["error"]
            if "fraction" in message and self._problem is None:
                self._onProgress(message["fraction"], message["message"])

    def _onErrorOutput(self):
        text = self._process.readAllStandardError().data().decode(errors="replace").rstrip()
        logging.debug("SLSFGR: %s", text)
        if self._onLog:
            self._onLog(text)

    def _onProcessError(self, error):
        if error == qt.QProcess.FailedToStart:
            self._problem = _("Python could not be started: {error}.").format(error=self._process.errorString())
            self._end(None)

    def _onFinished(self, exitCode, exitStatus):
        self._onOutput()
        result = None
        try:
            if self._problem is None and exitCode == 0:
                result = importLibrary("SLSFGRLib.jobs").JobResult.load(self._folder / "result")
        finally:
            self._end(result)

    def _end(self, result):
        qt.QTimer.singleShot(0, self._outliveSignal)
        shutil.rmtree(self._folder, ignore_errors=True)
        if result is None and self._problem is None:
            self._problem = _("The computation ended unexpectedly. The log below tells more.")
        if self._onEnd:
            self._onEnd(result, self._problem)

    def _outliveSignal(self):
        """Do nothing, later: until then the timer keeps us, and Qt's process is not deleted inside its own signal."""


def pythonProgram():
    """Slicer's Python, or the one that runs us."""
    return shutil.which("PythonSlicer") or sys.executable
