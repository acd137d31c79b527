"""The command as a process: ``slsfgr``, or ``python -m SLSFGRLib``."""

from __future__ import annotations

import faulthandler
import os
import sys

from .cli import main


def run() -> None:
    """Run the command and exit at once: nothing is left to clean up, and torch takes long to shut down."""
    keep_standard_error_to_python()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def keep_standard_error_to_python() -> None:
    """Discard what native libraries write to standard error; what Python writes still appears there.

    GDCM, NIfTI and HDF5 print lines of their own beside the exceptions that we report in one line.
    """
    if sys.stderr is None:
        return
    own = os.dup(sys.stderr.fileno())
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    # A crash inside a library is still reported, by Python.
    faulthandler.enable(sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    run()
