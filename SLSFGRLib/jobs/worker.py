"""Do jobs in a child process, one after the other: ``python -m SLSFGRLib.jobs.worker FOLDER``.

Load torch, wait for ``FOLDER/job``, read and remove it, write ``FOLDER/result``, and wait for the next job. A parent
that starts the process early need not wait for torch. What is known about a fixed image is kept for the next job, as
are the images that were read for the last. Standard output holds lines of JSON and nothing else:

- ``{"pid": 123}``: the first line. The parent may have started a launcher; killing that alone would leave this process
  running.
- ``{"fraction": 0.4, "message": "Deforming"}``: progress.
- ``{"done": true}``, or ``{"error": "what went wrong, for the user"}``: the end of a job.

Logs and tracebacks go to standard error. When standard input closes, because the parent has ended or cancelled, the
process removes the folder and ends at once.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ..errors import InputError
from ..runtime.memory import MEMORY_IS_FULL, is_out_of_memory
from ..runtime.process import set_up_process
from ..runtime.standard_input import wait_for_closed_input
from .job import Job, load_job

FAILED = 1
POLL_SECONDS = 0.01
# No space, a quota, a limit for each file.
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(folder: Path) -> None:
    """Do the jobs that come into a folder, until the process is ended."""
    send = _sole_writer_to_standard_output()
    send(pid=os.getpid())
    threading.Thread(target=_end_with_standard_input, args=(folder,), daemon=True).start()
    set_up_process()
    import_module("SLSFGRLib.registration.pipeline")
    fixed_brain, job = import_module("SLSFGRLib.registration.fixed_brain").FixedBrain(), None
    while True:
        while not (folder / "job").exists():
            time.sleep(POLL_SECONDS)
        try:
            job = _taken(folder / "job", job)
            result = job.run(lambda fraction, message: send(fraction=fraction, message=message), None, fixed_brain)
            result.save(folder / "result")
        except InputError as error:
            send(error=str(error))
        except Exception as error:
            # Also while the job is read or the result is written.
            problem = _of_full_machine(error, folder)
            if not problem:
                raise
            shutil.rmtree(folder / "result", ignore_errors=True)
            send(error=problem)
        else:
            send(done=True)


def _of_full_machine(error: Exception, folder: Path) -> str:
    """Return a sentence for the user if memory or the disk is full; else an empty text."""
    if is_out_of_memory(error):
        return MEMORY_IS_FULL
    is_disk_full = isinstance(error, OSError) and error.errno in DISK_IS_FULL
    return f"the disk of {folder.parent} is full, or your share of it; free some space there." if is_disk_full else ""


def _taken(folder: Path, before: Job | None) -> Job:
    """Read a job and remove its folder, also if it cannot be read."""
    try:
        return load_job(folder, before)
    finally:
        shutil.rmtree(folder)


def _sole_writer_to_standard_output() -> Callable[..., None]:
    """Return a function that writes its arguments as a line of JSON; redirect all other output to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(**message: object) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return send


def _end_with_standard_input(folder: Path) -> None:
    wait_for_closed_input()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(FAILED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
