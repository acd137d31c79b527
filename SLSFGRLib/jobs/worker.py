"""Do one job in a process of its own: ``python -m SLSFGRLib.jobs.worker FOLDER``.

Loads torch, waits for ``FOLDER/job``, and writes ``FOLDER/result``. Who starts the process early need not wait for
torch. Standard output holds lines of JSON and nothing else:

- ``{"pid": 123}``: the first line. A launcher may stand between us and who started us; killing that would
  leave us running.
- ``{"fraction": 0.4, "message": "Deforming"}``: progress.
- ``{"done": true}``, or ``{"error": "what went wrong, for the user"}``: the last line.

Logs and tracebacks go to standard error. When standard input is closed, because whoever started us has ended
or lost interest, the process removes the folder and ends at once.
"""

from __future__ import annotations

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
from ..runtime.process import set_up_process
from .job import load_job

FAILED = 1
POLL_SECONDS = 0.01


def main(folder: Path) -> int:
    """Do the job in a folder, as soon as there is one.

    :returns: the exit code: 0 done, 1 failed.
    """
    tell = _sole_writer_to_standard_output()
    tell(pid=os.getpid())
    threading.Thread(target=_end_with_standard_input, args=(folder,), daemon=True).start()
    set_up_process()
    import_module("SLSFGRLib.registration.pipeline")
    while not (folder / "job").exists():
        time.sleep(POLL_SECONDS)
    try:
        result = load_job(folder / "job").run(lambda fraction, message: tell(fraction=fraction, message=message))
        result.save(folder / "result")
    except InputError as error:
        tell(error=str(error))
        return FAILED
    except MemoryError:
        tell(error="The memory of this computer is not enough for these images; crop or resample them first.")
        return FAILED
    tell(done=True)
    return 0


def _sole_writer_to_standard_output() -> Callable[..., None]:
    """Give a function that writes its arguments as a line of JSON; all other output goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**message: object) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return tell


def _end_with_standard_input(folder: Path) -> None:
    # Read past Python's own buffer, whose lock would be held when the interpreter ends.
    while os.read(0, 1024):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(FAILED)


if __name__ == "__main__":
    # Nothing is left to clean up, and torch takes its time to end in good order.
    code = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)
