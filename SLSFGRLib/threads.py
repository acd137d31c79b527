"""How PyTorch's threads wait for one another."""

from __future__ import annotations

import os

# Of GNU's OpenMP, and of Intel's and LLVM's.
SETTINGS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}


def wait_patiently() -> None:
    """Let threads that wait sleep soon; to be called before torch is loaded.

    By default they spin for long. On a machine that has anything else to do, a run then takes ten times as long
    (docs/measurements.md); on an idle one, spinning briefly costs nothing. What the user has set is left alone.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
