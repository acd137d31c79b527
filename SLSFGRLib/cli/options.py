"""Options that several subcommands share."""

from __future__ import annotations

import argparse

from ..modes import DEFAULT_MODE, MODES


def shared_options(*names: str) -> argparse.ArgumentParser:
    """Return a parent parser with ``--quiet`` and the named options.

    :param names: ``mode``, ``device`` or both.
    """
    parser = argparse.ArgumentParser(add_help=False)
    if "mode" in names:
        parser.add_argument(
            "--mode", choices=MODES, default=DEFAULT_MODE, help=f"how long to optimise (default: {DEFAULT_MODE})"
        )
    if "device" in names:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser
