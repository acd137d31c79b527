"""The command as a process: ``slsfgr``, and ``python -m SLSFGRLib``, which is the same."""

from __future__ import annotations

import os
import sys

from .cli import main


def run() -> None:
    """Run the command and end at once: nothing is left to clean up, and torch takes long to end in good order."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
